use super::*;
use crate::prepare::Step;
use doorward_core::names::HostName;
use doorward_core::service::EntranceWish;
use std::time::Duration;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(text, Path::new("agent.toml")).map_err(|error| error.to_string())
}

const WHOLE: &str = r#"
metered = true
proxy = "http://anna:hunter2@proxy:3128"

[[gateway]]
name = "home"
services = ["octoprint", "cam"]

[[service]]
name = "octoprint"
title = "Küche"
target = "http://127.0.0.1:5000"
main = true
virtual-port = 80
entrances = [{ tcp-port = 0 }, { host = "printer.example.org" }, { path = { prefix = "/zumi01/", strip = false } }]
[service.access]
who = "public"

[[service]]
name = "cam"
target = "http+unix:/run/cam.sock"

[[service]]
name = "ssh"
target = "tcp://127.0.0.1:2222"
entrances = [{ tls = "Vault.example.org" }]

[[service]]
name = "second"
target = "http://127.0.0.1:80"
"#;

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

#[test]
fn a_whole_file_is_read() {
    let settings = parse(WHOLE).unwrap();
    assert!(settings.metered && settings.proxy.is_some());
    let ports: Vec<_> = settings.services.iter().map(|s| s.offer.virtual_port).collect();
    assert_eq!(ports, [Some(80), None, Some(22), None], "port 80 is taken by the first service");
    assert_eq!(settings.services[0].offer.entrances.len(), 3);
    let vault = HostName::parse("vault.example.org").unwrap();
    assert_eq!(settings.services[2].offer.entrances, [EntranceWish::Tls(vault)]);
    let names = |gateway: &str| settings.services_for(&label(gateway)).map(|s| s.offer.name.to_string()).collect();
    let (home, other): (Vec<_>, Vec<_>) = (names("home"), names("main"));
    assert_eq!(home, ["octoprint", "cam"]);
    assert_eq!(other.len(), 4);
    assert!(settings.target(&label("home"), &label("ssh"), None).is_none());
    assert!(settings.target(&label("main"), &label("ssh"), None).is_some());
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn what_is_said_of_requests_reaches_the_gateway_without_a_targets_address() {
    let settings = parse(
        r#"
[[service]]
name = "plain"
target = "http://10.9.8.7:5000"

[[service]]
name = "octo"
target = "http://10.9.8.7:5000"
preset = "octoprint"
entrances = [{ path = { prefix = "/octo/" } }, { path = { prefix = "/kept/", strip = false } }]
mounts = { "/webcam/" = "http://10.9.8.7:8080/mjpeg/" }

[[service]]
name = "jupyter"
target = "http://localhost:8888"
preset = "jupyter"

[[service]]
name = "own"
target = "https://[::1]:8443/app/"
preset = "jupyter"
headers = "preserve"
verify = "off"
"#,
    )
    .unwrap();
    let offers: Vec<_> = settings.services.iter().map(|s| serde_json::to_value(&s.offer).unwrap()).collect();
    assert_eq!(offers[0].get("web"), None, "nothing that an older gateway would refuse");
    assert_eq!(offers[1]["web"], serde_json::json!({ "mounts": [{ "path": "/webcam/", "base": "/mjpeg/" }] }));
    assert_eq!(offers[1]["entrances"][0]["path"]["strip"], true, "as the preset says");
    assert_eq!(offers[1]["entrances"][1]["path"]["strip"], false, "as is said here");
    assert_eq!(offers[2]["web"], serde_json::json!({ "headers": "rewrite", "origin": "http://localhost:8888" }));
    assert_eq!(offers[3]["web"], serde_json::json!({ "base": "/app/" }));
    assert!(!offers.iter().any(|offer| offer.to_string().contains("10.9.8.7")), "{offers:?}");
    let webcam = PathPrefix::parse("/webcam/").unwrap();
    let target = |mount| settings.target(&label("main"), &label("octo"), mount).map(ToString::to_string);
    assert_eq!(target(None).unwrap(), "http://10.9.8.7:5000");
    assert_eq!(target(Some(&webcam)).unwrap(), "http://10.9.8.7:8080");
    assert_eq!(target(Some(&PathPrefix::parse("/other/").unwrap())), None);
}

#[test]
fn each_target_with_tls_is_checked_in_its_own_way() {
    let pin = format!("pin:sha256:{}", "ab".repeat(32));
    let settings = parse(&format!(
        "[[service]]\nname = \"a\"\ntarget = \"https://h\"\nverify = \"off\"\n[service.mounts]\n\"/as/\" = \"https://m\"\n\
         \"/own/\" = {{ target = \"https://m/x/\", verify = \"{pin}\" }}\n\
         \"/strict/\" = {{ target = \"https://m\", verify = \"system\" }}\n"
    ))
    .unwrap();
    let service = &settings.services[0];
    let verified = |target: &Target| match target {
        Target::Https { verify, .. } | Target::H2 { verify, .. } => verify.to_string(),
        Target::Http(_) | Target::H2c(_) | Target::Tcp(_) | Target::Udp { .. } | Target::Camera(_) => {
            panic!("{target}")
        }
    };
    assert_eq!(verified(&service.target), "off");
    let mounts: Vec<_> = service.mounts.iter().map(|(path, target)| (path.as_str(), verified(target))).collect();
    assert_eq!(mounts, [("/as/", "off".to_owned()), ("/own/", pin), ("/strict/", "system".to_owned())]);
    assert_eq!(service.offer.web.mounts[1].base, Some(PathPrefix::parse("/x/").unwrap()));
}

#[test]
fn pages_are_read_beside_the_file_and_refused_where_they_could_not_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let web = "[[service]]\nname = \"a\"\ntarget = \"http://h:1\"\n[service.pages]\noffline = \"pages/off.html\"\n";
    std::fs::write(&file, format!("{web}password = \"in.html\"\n")).unwrap();
    let page = folder.path().join("pages/off.html");
    let refused = || Settings::load(&file).unwrap_err().to_string();
    assert!(refused().contains("pages/off.html cannot be read"), "{}", refused());
    std::fs::create_dir(folder.path().join("pages")).unwrap();
    std::fs::write(folder.path().join("in.html"), "<p>{{service}}").unwrap();
    for (html, why) in [("{{titel}}".to_owned(), "off.html: \"{{titel"), ("a".repeat(65 * 1024), "off.html: pages of")]
    {
        std::fs::write(&page, html).unwrap();
        assert!(refused().contains(why), "{}", refused());
    }
    std::fs::write(&page, "a".repeat(64 * 1024 - 4)).unwrap();
    assert!(refused().contains("64 KiB together"), "{}", refused());
    std::fs::write(&page, "<p>{{detail}}").unwrap();
    let settings = Settings::load(&file).unwrap();
    assert_eq!(settings.files_beside(&file), [page, folder.path().join("in.html")]);
    let pages = &settings.services[0].offer.web.pages;
    let filled = |page: &Option<doorward_core::web::Page>| page.as_ref().unwrap().fill(|blank| format!("{blank:?}"));
    assert_eq!((filled(&pages.offline), filled(&pages.password)), ("<p>Detail".into(), "<p>Service".into()));
    assert_eq!(pages.unreachable, None);
}

#[test]
fn paths_of_a_preset_are_open_only_where_the_policy_says_so() {
    let paths = |policy: &str| {
        let text = format!(
            "[[service]]\nname = \"a\"\ntarget = \"http://h:1\"\npreset = \"octoprint\"\n\
             [service.access]\nwho = \"people\"\n{policy}"
        );
        parse(&text).unwrap().services[0].offer.access.open_paths.clone()
    };
    assert!(paths("").is_empty(), "no preset opens anything");
    assert_eq!(paths("open-paths = [\"/x/\", \"preset\", \"/y/\"]"), ["/x/", "/api/", "/y/"]);
}

#[test]
fn an_empty_file_offers_nothing() {
    assert!(parse("").unwrap().services.is_empty());
}

#[test]
fn every_mistake_names_file_line_key_and_remedy() {
    let service = "[[service]]\nname = \"a\"\ntarget = \"tcp://h:1\"\n";
    let web = "[[service]]\nname = \"a\"\ntarget = \"http://h:1\"\n";
    let table: Vec<(String, &[&str])> = vec![
        ("colour = 1".into(), &["agent.toml:1:1: colour: ", "unknown field", "expected one of"]),
        ("metered = 3".into(), &["agent.toml:1:11: metered: ", "boolean"]),
        ("reserve = 91".into(), &["agent.toml:1:11: reserve: ", "percent from 0 to 90"]),
        ("[[service]]\nname = \"Küche\"\n".into(), &["agent.toml:2:8: name: ", "\"kueche\" would do"]),
        ("[[service]]\nname = \"a\"\n".into(), &["agent.toml:1:", "target"]),
        (format!("{service}{service}"), &["agent.toml:5:8: name: ", "two services \"a\""]),
        (service.replace("tcp://h:1", "http://h/a"), &["agent.toml:3:10: target: ", "write /a/"]),
        (format!("{service}headers = \"rewrite\""), &["agent.toml:4:11: headers: ", "for web services"]),
        (format!("{web}headers = \"guess\""), &["agent.toml:4:11: headers: ", "unknown variant", "rewrite"]),
        (format!("{web}preset = \"octopi\""), &["agent.toml:4:10: preset: ", "no preset \"octopi\"", "octoprint"]),
        (
            format!("{web}verify = \"off\""),
            &["agent.toml:4:10: verify: ", "for https://, h2:// and camera+https:// targets"],
        ),
        (format!("{web}mounts = {{ \"/a/\" = \"tcp://h:1\" }}"), &["agent.toml:4:", "only web targets"]),
        (
            format!("{web}mounts = {{ \"/a/\" = \"http://h\", \"a\" = \"http://h\" }}"),
            &["agent.toml:4:", "mounted at /a/"],
        ),
        (format!("{web}mounts = {{ \"/\" = \"http://h\" }}"), &["agent.toml:4:", "name at least one part"]),
        (
            format!("{web}mounts = {{ \"/a/\" = {{ target = \"http://h\", verify = \"off\" }} }}"),
            &["agent.toml:4:", "verify is for https://, h2:// and camera+https:// targets"],
        ),
        (
            format!("{web}mounts = {{ \"/a/\" = {{ target = \"https://h\", verify = \"maybe\" }} }}"),
            &["agent.toml:4:", "pin:sha256:"],
        ),
        (format!("{web}mounts = {{ \"/a/\" = {{ verify = \"off\" }} }}"), &["agent.toml:4:", "target"]),
        (
            format!("{web}[service.pages]\nnothing-here = \"a.html\""),
            &["agent.toml:5:1: nothing-here: ", "unknown field"],
        ),
        (format!("{service}[service.pages]\noffline = \"a.html\""), &["agent.toml:", "for web services"]),
        (format!("{service}virtual-port = 0"), &["agent.toml:4:16: virtual-port: ", "1 to 65535"]),
        (format!("{service}entrances = [{{ door = 1 }}]"), &["agent.toml:4:", "door"]),
        (format!("{service}access = {{ who = \"password\" }}"), &["agent.toml:4:10: access: ", "doorward password"]),
        (format!("{service}[service.access]\nfrom = [\"x\"]\n"), &["agent.toml:", "access.from"]),
        (
            format!("{service}[service.access]\nwho = \"people\"\nopen-paths = [\"/a/\"]\n"),
            &["agent.toml:", "kind = \"http\" alone"],
        ),
        (
            format!("{web}[service.access]\nwho = \"people\"\nopen-paths = [\"preset\"]\n"),
            &["agent.toml:", "access.open-paths", "no preset"],
        ),
        (
            format!("{web}preset = \"karmen\"\n[service.access]\nwho = \"people\"\nopen-paths = [\"preset\"]\n"),
            &["agent.toml:", "access.open-paths", "no preset"],
        ),
        (
            format!("{web}[service.access]\nwho = \"public\"\nopen-paths = [\"/a/\"]\n"),
            &["agent.toml:", "access.open-paths", "people"],
        ),
        (format!("{service}[service.access]\nwhom = \"x\"\n"), &["agent.toml:5:1: whom: ", "unknown field"]),
        (format!("{service}[[gateway]]\nservices = [\"b\"]"), &["agent.toml:5:13: services: ", "no service \"b\""]),
        ("[[gateway]]\n[[gateway]]".into(), &["agent.toml:", "two gateways \"main\""]),
        ("proxy = \"socks5://u:hunter2@h:1\"".into(), &["agent.toml:1:9: proxy: ", "HTTP proxies"]),
        ("a = ".into(), &["agent.toml:1:"]),
    ];
    for (text, wanted) in table {
        let error = parse(&text).unwrap_err();
        for part in wanted {
            assert!(error.contains(part), "{text:?}: {error:?} lacks {part:?}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn more_than_a_gateway_takes_is_refused_where_it_becomes_too_much() {
    let service = |n: usize, access: &str| format!("[[service]]\nname = \"s{n}\"\ntarget = \"tcp://h:1\"\n{access}\n");
    let many = |count: usize| (1..=count).map(|n| service(n, "")).collect::<String>();
    assert_eq!(parse(&many(100)).unwrap().services.len(), 100);
    let error = parse(&many(101)).unwrap_err();
    assert!(error.starts_with("agent.toml:402:8: name: s101 is one service too many"), "{error}");

    let networks = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("\"2001:db8:{:x}:{:x}::/64\"", n >> 12, n & 0xfff)).collect();
        format!("access = {{ who = \"public\", from = [{}] }}", list.join(", "))
    };
    assert!(parse(&service(1, &networks(10_000))).is_ok());
    let error = parse(&(service(1, &networks(10_000)) + &service(2, &networks(10_000)))).unwrap_err();
    assert!(error.starts_with("agent.toml:6:8: name: with s2 ") && error.contains("400 KiB"), "{error}");
}

#[test]
fn a_missing_file_is_told_from_an_unreadable_one() {
    assert!(matches!(Settings::load(Path::new("/nonexistent/agent.toml")), Err(SettingsError::Missing { .. })));
    assert!(matches!(Settings::load(Path::new("/")), Err(SettingsError::Unreadable { .. })));
}

const SLEEPER: &str = "[[service]]\nname = \"pc\"\ntarget = \"tcp://192.0.2.7:3389\"\n";

#[test]
fn steps_are_read_and_the_gateway_is_told_of_none() {
    let text = format!(
        "{SLEEPER}wake-on-visit = true\nlinger = \"0s\"\nready = {{ tcp = \"192.0.2.7:3389\", limit = \"10m\" }}\n\
         prepare = [{{ wake = \"00-11-22-33-44-55\", interface = \"eth0\" }},\n\
         {{ http = \"https://plug.lan/on?x=1\", status = 204, verify = \"off\", limit = \"5s\" }},\n\
         {{ command = [\"/usr/bin/true\", \"a b\"], title = \"Strom an\" }}]\n"
    );
    let service = parse(&text).unwrap().services.remove(0);
    let plan = service.plan.as_ref().unwrap();
    let words: Vec<_> = plan.prepare.iter().map(Step::words).collect();
    assert_eq!(words, ["Wake-on-LAN", "an HTTP request", "Strom an"]);
    assert_eq!(plan.linger, Duration::ZERO);
    let told = serde_json::to_string(&service.offer).unwrap();
    assert!(told.contains(r#""prepare":{"on-visit":true,"limit":665}"#), "{told}");
    assert!(!["plug", "00", "bin", "Strom"].iter().any(|secret| told.contains(secret)), "{told}");
    let usual = parse(&format!("{SLEEPER}prepare = [{{ command = [\"/x\"] }}]\nready = {{ http = \"http://a/\" }}\n"));
    let plan = usual.unwrap().services.remove(0).plan.unwrap();
    assert_eq!((plan.linger.as_secs(), plan.prepare[0].limit.as_secs()), (300, 30));
    assert_eq!(plan.ready.map(|ready| (ready.every.as_secs(), ready.limit.as_secs())), Some((2, 180)));
}

#[test]
fn a_step_that_is_none_is_refused_with_its_place() {
    let table = [
        ("prepare = []", "1 to 16 steps"),
        ("prepare = [{}]", "one of wake, http and command"),
        ("prepare = [{ wake = \"00:11:22:33:44:55\", command = [\"/x\"] }]", "one of wake, http and command"),
        ("prepare = [{ wake = \"pc\" }]", "00:11:22:33:44:55"),
        ("prepare = [{ wake = \"00:11:22:33:44:55\", method = \"GET\" }]", "beside wake stand"),
        ("prepare = [{ wake = \"00:11:22:33:44:55\", interface = \"a/../b\" }]", "ip link"),
        ("prepare = [{ http = \"ftp://x\" }]", "http://host:port/path"),
        ("prepare = [{ http = \"http://x/a b\" }]", "%20"),
        ("prepare = [{ http = \"http://x/\", verify = \"off\" }]", "verify is for https"),
        ("prepare = [{ http = \"http://x/\", method = \"get\" }]", "as GET, POST or PUT"),
        ("prepare = [{ http = \"http://x/\", headers-from = \"secret\" }]", "whole path"),
        ("prepare = [{ http = \"http://x/\", headers = { a = \"b\\nc\" } }]", "not a header"),
        ("prepare = [{ http = \"http://x/\", status = 42 }]", "100 to 599"),
        ("prepare = [{ command = [] }]", "names a program"),
        ("prepare = [{ command = [\"reboot\"] }]", "whole path"),
        ("prepare = [{ command = [\"/usr/../tmp/x\"] }]", "whole path"),
        ("prepare = [{ command = \"/bin/sh -c x\" }]", "invalid type"),
        ("prepare = [{ command = [\"/x\"], limit = \"2h\" }]", "not from 1 to 3600 s"),
        ("prepare = [{ command = [\"/x\"], interface = \"eth0\" }]", "beside command stand"),
        ("prepare = [{ command = [\"/x\"] }]\nready = {}", "tcp = \"host:port\""),
        ("prepare = [{ command = [\"/x\"] }]\nready = { tcp = \"a:1\", status = 200 }", "tcp = \"host:port\""),
        ("release = [{ command = [\"/x\"] }]", "say with `prepare`"),
        ("wake-on-visit = true", "say with `prepare`"),
    ];
    for (text, why) in table {
        let error = parse(&format!("{SLEEPER}{text}\n")).unwrap_err();
        let line = 3 + text.lines().count();
        assert!(error.contains(why) && error.starts_with(&format!("agent.toml:{line}:")), "{text}: {error}");
    }
}

#[test]
fn a_service_knows_where_its_policy_is_written() {
    let text = "metered = true\n\n[[service]]\nname = \"a\"\ntarget = \"http://127.0.0.1:1\"\naccess = { who = \"public\" }\n\n\
         [[service]]\nname = \"b\"\ntarget = \"http://127.0.0.1:2\"\n# who\n[service.access]\nwho = \"public\"\n\n\
         [[service]]\nname = \"c\"\ntarget = \"http://127.0.0.1:3\"\n";
    let settings = Settings::parse(text, Path::new("/etc/doorward/agent.toml")).unwrap();
    let places: Vec<_> = settings.services.iter().map(|service| service.written_at.clone().unwrap()).collect();
    assert_eq!(places, ["/etc/doorward/agent.toml:6", "/etc/doorward/agent.toml:12", "/etc/doorward/agent.toml:16"]);
    let long = format!("/{}/agent.toml", "x".repeat(500));
    let settings = Settings::parse(text, Path::new(&long)).unwrap();
    let place = settings.services[0].written_at.clone().unwrap();
    assert!(place.chars().count() == 200 && place.ends_with("/agent.toml:6"), "{place}");
}

#[test]
fn a_camera_is_a_service_or_a_mount_and_the_gateway_hears_that_it_is_one() {
    let settings = parse(
        r#"
[[service]]
name = "door"
target = "camera+https://10.9.8.7/stream?pwd=hunter2"
verify = "off"
password-file = "/etc/camera"

[[service]]
name = "octo"
target = "http://10.9.8.7:5000"
[service.mounts]
"/webcam/" = "camera+http://10.9.8.7:8080/?action=stream"
"/own/" = { target = "camera+https://10.9.8.7/", verify = "off", password-file = "/etc/own" }
"#,
    )
    .unwrap();
    let offers: Vec<_> = settings.services.iter().map(|s| serde_json::to_value(&s.offer).unwrap()).collect();
    assert_eq!((&offers[0]["kind"], offers[0].get("web")), (&serde_json::json!("camera"), None));
    assert_eq!(offers[0].get("virtual-port"), None, "by SSH there is no way to it");
    let mounts = serde_json::json!([{ "path": "/own/", "camera": true }, { "path": "/webcam/", "camera": true }]);
    assert_eq!(offers[1]["web"]["mounts"], mounts);
    assert!(!offers.iter().any(|offer| offer.to_string().contains("10.9.8.7")), "{offers:?}");
    let files: Vec<_> = settings.cameras().map(|camera| format!("{camera:?}").contains("/etc/")).collect();
    assert_eq!(files, [true, true, false]);
    for (wrong, why) in [
        ("target = \"http://h\"\npassword-file = \"/etc/camera\"", "camera+http://"),
        ("target = \"camera+http://h\"\npassword-file = \"camera\"", "its whole path"),
        ("target = \"camera+http://h\"\nverify = \"off\"", "camera+https://"),
        ("target = \"camera+http://h\"\nheaders = \"rewrite\"", "for web services"),
        ("target = \"camera:/dev/video0\"\npassword-file = \"/etc/camera\"", "camera+http://"),
    ] {
        let error = parse(&format!("[[service]]\nname = \"a\"\n{wrong}\n")).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
}

#[test]
fn how_long_and_how_often_cameras_are_read_is_said_within_limits() {
    let usual = parse("").unwrap().camera_rhythm;
    assert_eq!((usual.linger.as_secs(), usual.every.as_millis()), (8, 200));
    let said = parse("[cameras]\nlinger = \"5s\"\npictures-per-second = 0.5\n").unwrap().camera_rhythm;
    assert_eq!((said.linger.as_secs(), said.every.as_secs()), (5, 2));
    for (wrong, why) in [
        ("linger = \"0s\"", "agent.toml:2:10: linger: 0s is not from 1s to 60s"),
        ("linger = \"2m\"", "is not from 1s to 60s"),
        ("linger = \"soon\"", "agent.toml:2:10: linger: \"soon\" is not a duration"),
        ("pictures-per-second = 21", "pictures-per-second: this is a number from 0.2 to 20"),
        ("pictures-per-second = nan", "this is a number from 0.2 to 20"),
        ("rate = 5", "rate"),
    ] {
        let error = parse(&format!("[cameras]\n{wrong}\n")).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
}
