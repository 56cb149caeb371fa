use super::*;

fn read(text: &str) -> anyhow::Result<File> {
    File::parse(text, Path::new("gateway.toml"))
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let error = read("domain = \"example.org\"\n\n[listen]\nhtps = []\n").unwrap_err().to_string();
    assert!(error.starts_with("gateway.toml:4: ") && error.contains("htps"), "{error}");
    let error = read("domain = \"a b\"\n").unwrap_err().to_string();
    assert!(error.starts_with("gateway.toml:1: ") && error.contains("a b"), "{error}");
}

#[test]
fn a_domain_gives_names_and_the_address_of_the_gateway() {
    let file =
        read("domain = \"example.org\"\n[listen]\nhttps = [\"0.0.0.0:443\"]\nquic = [\"0.0.0.0:443\"]\n").unwrap();
    let settings = file.into_settings("/tmp/x".into()).unwrap();
    assert_eq!(settings.gateway.addresses, [Address::parse("example.org:443").unwrap()]);
    assert_eq!(settings.site.web, WebFace { is_https: true, port: 443 });
    assert_eq!(
        (settings.site.tls_port, settings.site.link_hosts),
        (Some(443), vec![HostName::parse("example.org").unwrap()])
    );
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
}

#[test]
fn tls_is_passed_through_where_the_gateway_reads_hellos_and_under_no_name_that_agents_dial() {
    let site = |text: &str| read(text).unwrap().into_settings("/tmp/x".into()).unwrap().site;
    let addresses = "addresses = [\"wss://b.example.net\", \"a.example.net:8443\", \"quic://192.0.2.1\"]";
    let mapped = site(&format!("{addresses}\n[listen]\nhttps = [\"0.0.0.0:8443\"]\npublic-port = 443\n"));
    assert_eq!(mapped.tls_port, Some(443));
    assert_eq!(mapped.link_hosts, ["a.example.net", "b.example.net"].map(|name| HostName::parse(name).unwrap()));
    for text in
        ["behind = \"127.0.0.1:8080\"\n", "[listen]\nhttps = []\nhttp = [\"127.0.0.1:8080\"]\npublic-port = 443\n"]
    {
        assert_eq!(site(&format!("domain = \"example.org\"\n{text}")).tls_port, None, "{text}");
    }
}

#[test]
fn metrics_stay_on_this_machine() {
    let file = read("[listen]\noperations = \"0.0.0.0:9180\"\n").unwrap();
    assert!(file.into_settings("/tmp/x".into()).unwrap_err().to_string().contains("loopback"));
}

#[test]
fn ranges_of_ports_are_checked() {
    assert_eq!(port_range(Some("20000 - 20010")).unwrap(), 20_000..=20_010);
    for bad in ["", "x", "5-1", "0-5", "1-70000"] {
        assert!(port_range(Some(bad)).is_err(), "{bad}");
    }
}
