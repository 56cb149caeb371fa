use super::*;
use std::time::Duration;
use tokio::time::timeout;

const FILE: &str = "[portal]\nmay-offer = [\"127.0.0.1:*\", \"192.168.1.0/24:80\"]\n\n[[service]]\nname = \"own\"\n\
                    target = \"tcp://127.0.0.1:22\"\n";

fn settings(text: &str) -> Settings {
    Settings::parse(text, Path::new("/etc/doorward/agent.toml")).unwrap()
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn wish(name: &str, target: &str) -> String {
    format!(r#"{{"name":"{name}","target":"{target}"}}"#)
}

fn refused(text: &str, wish: &str) -> String {
    judge(wish, &label("main"), &settings(text)).unwrap_err().to_string()
}

#[test]
fn only_what_the_device_allows_is_offered() {
    let taken = |target: &str| judge(&wish("cam", target), &label("main"), &settings(FILE)).is_ok();
    for target in [
        "http://127.0.0.1:5000",
        "tcp://127.0.0.1:1",
        "udp://127.0.0.1:53",
        "http://192.168.1.9",
        "https://127.0.0.1",
        "camera+http://192.168.1.9/?action=stream",
    ] {
        assert!(taken(target), "{target}");
    }
    let outside = [
        "http://192.168.1.9:81",
        "http://192.168.2.1:80",
        "http://localhost:80",
        "http://printer.lan:80",
        "http://127.1:80",
        "http://2130706433:80",
        "http://0x7f000001:80",
        "http://[::1]:80",
        "http://0.0.0.0:80",
        "http://169.254.169.254:80",
        "unix:/run/docker.sock",
        "http+unix:/run/docker.sock",
        "camera+http://192.168.1.9:81/",
        "camera+http://localhost/",
        "camera:/dev/video0",
        "camera:/etc/shadow",
        "netgear://127.0.0.1:5454",
    ];
    for target in outside {
        assert!(!taken(target), "{target}");
    }
    let nothing = FILE.replace("\"127.0.0.1:*\", \"192.168.1.0/24:80\"", "");
    for text in [nothing.as_str(), ""] {
        assert!(
            refused(text, &wish("cam", "http://127.0.0.1:80")).contains("does not let the portal offer 127.0.0.1:80")
        );
    }
}

#[test]
fn a_refusal_says_what_would_have_to_be_allowed() {
    let additions = Additions { state: StateDir::new("/nowhere"), wished: watch::Sender::default() };
    let wishes =
        vec![wish("cam", "http://192.168.1.9:81"), wish("own", "http://127.0.0.1:1"), wish("ok", "tcp://127.0.0.1:9")];
    additions.wished.send_modify(|wished| drop(wished.insert(label("main"), wishes)));
    let report = additions.report(&label("main"), &settings(FILE));
    assert_eq!(report.may_offer, ["127.0.0.1:*", "192.168.1.0/24:80"]);
    let refusals: Vec<_> = report.refusals.iter().map(|r| (r.service.as_str(), r.needs.as_deref())).collect();
    assert_eq!(refusals, [("cam", Some("192.168.1.9:81")), ("own", None)]);
}

#[test]
fn a_wish_says_nothing_of_what_is_the_devices_own() {
    let base = r#""name":"cam","target":"http://127.0.0.1:80""#;
    for more in
        [r#""access":{"who":"public"}"#, r#""prepare":[{"command":["/bin/sh"]}]"#, r#""mounts":{"/x/":"http://a"}"#]
    {
        assert!(refused(FILE, &format!("{{{base},{more}}}")).contains("unknown field"), "{more}");
    }
    let service = judge(&format!("{{{base}}}"), &label("main"), &settings(FILE)).unwrap();
    assert_eq!(service.offer.access, doorward_core::access::PolicyDocument::default());
    let injected = r#"{"name":"cam","target":"http://127.0.0.1:80\"\nprepare = [{ command = [\"/bin/sh\"] }]\n#"}"#;
    assert!(refused(FILE, injected).contains("target"));
    assert!(refused(FILE, r#"{"name":"cam","target":"http://127.0.0.1:80","preset":"nosuch"}"#).contains("preset"));
}

#[test]
fn a_gateway_gets_no_service_that_its_list_keeps_from_it() {
    let text = format!("{FILE}\n[[gateway]]\nname = \"main\"\nservices = [\"own\"]\n");
    assert!(refused(&text, &wish("cam", "http://127.0.0.1:80")).contains("not among them"));
    let elsewhere = judge(&wish("cam", "http://127.0.0.1:80"), &label("other"), &settings(&text));
    assert!(elsewhere.is_ok());
}

#[tokio::test]
async fn wishes_are_kept_for_their_gateway_and_follow_the_settings() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path());
    for gateway in ["main", "other"] {
        std::fs::create_dir(directory.path().join(gateway)).unwrap();
        std::fs::write(directory.path().join(gateway).join("site.json"), "{}").unwrap();
    }
    let additions = Additions::load(&state);
    additions.hear(&label("main"), vec![wish("cam", "http://127.0.0.1:5000"), wish("far", "http://10.0.0.1:80")]).await;
    let file = watch::Sender::new(Arc::new(settings(FILE)));
    let again = Additions::load(&state);
    let (mut whole, following) = again.join(file.subscribe());
    let names = |settings: &Settings, gateway: &str| -> Vec<String> {
        settings.services_for(&label(gateway)).map(|service| service.offer.name.to_string()).collect()
    };
    assert_eq!(names(&whole.borrow_and_update(), "main"), ["own", "cam"]);
    assert_eq!(names(&whole.borrow(), "other"), ["own"], "another gateway's wishes are not its business");
    assert!(whole.borrow().target(&label("main"), &label("cam"), None).is_some());
    assert!(whole.borrow().target(&label("other"), &label("cam"), None).is_none());

    let narrowed = FILE.replace("\"127.0.0.1:*\", ", "");
    file.send_replace(Arc::new(settings(&narrowed)));
    let narrowing = async {
        whole.changed().await.unwrap();
        assert_eq!(names(&whole.borrow_and_update(), "main"), ["own"]);
        again.hear(&label("main"), vec![wish("lamp", "http://192.168.1.7:80")]).await;
        whole.changed().await.unwrap();
        assert_eq!(names(&whole.borrow_and_update(), "main"), ["own", "lamp"]);
    };
    tokio::select! {
        done = timeout(Duration::from_secs(10), narrowing) => done.unwrap(),
        () = following => {}
    }
    assert_eq!(Additions::load(&state).wished.borrow()[&label("main")], [wish("lamp", "http://192.168.1.7:80")]);
}
