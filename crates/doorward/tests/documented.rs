//! What the documents say of the program is so: docs/configuration.md names every key that the settings files know, and
//! no other; what it shows can be used as it stands; files and tests that are named exist. The keys are asked of the
//! parsers themselves: they refuse an unknown one by naming those they know.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::serve::settings::File;
use doorward_agent::Settings;
use doorward_gateway::{FlowSettings, Limits};
use doorward_router::Settings as RouterSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A heading of the page, and a file with an unknown key in the table that it is about.
const GATEWAY: &[(&str, &str)] = &[
    ("gateway.toml: the top", "zz = 1"),
    ("gateway.toml: [listen]", "[listen]\nzz = 1"),
    ("gateway.toml: [web]", "[web]\nzz = 1"),
    ("gateway.toml: [certificate]", "[certificate]\nzz = 1"),
    ("gateway.toml: [certificates]", "[certificates]\nzz = 1"),
    ("gateway.toml: [[certificates.authorities]]", "[[certificates.authorities]]\nzz = 1"),
    (
        "gateway.toml: [certificates.authorities.account]",
        "[[certificates.authorities]]\n[certificates.authorities.account]\nzz = 1",
    ),
    ("gateway.toml: [certificates.dns]", "[certificates.dns]\nzz = 1"),
    ("gateway.toml: [certificates.dns.update]", "[certificates.dns.update]\nzz = 1"),
    ("gateway.toml: [certificates.dns.responder]", "[certificates.dns.responder]\nzz = 1"),
    ("gateway.toml: [certificates.dns.hook]", "[certificates.dns.hook]\nzz = 1"),
    ("gateway.toml: [ports]", "[ports]\nzz = 1"),
    ("gateway.toml: [knock]", "[knock]\nzz = 1"),
    ("gateway.toml: [sessions]", "[sessions]\nzz = 1"),
    ("gateway.toml: [built-in]", "[built-in]\nzz = 1"),
    ("gateway.toml: [port-mapping]", "[port-mapping]\nzz = 1"),
    ("gateway.toml: [[dynamic-dns]]", "[[dynamic-dns]]\nzz = 1"),
    ("gateway.toml: [dynamic-dns.rfc2136]", "[[dynamic-dns]]\n[dynamic-dns.rfc2136]\nzz = 1"),
    ("gateway.toml: [dynamic-dns.dyndns2]", "[[dynamic-dns]]\n[dynamic-dns.dyndns2]\nzz = 1"),
    ("gateway.toml: [dynamic-dns.template]", "[[dynamic-dns]]\n[dynamic-dns.template]\nzz = 1"),
    ("gateway.toml: [portal]", "[portal]\nzz = 1"),
    ("gateway.toml: [sign-in]", "[sign-in]\nzz = 1"),
    ("gateway.toml: [[sign-in.oidc]]", "[[sign-in.oidc]]\nzz = 1"),
    ("gateway.toml: [limits]", "[limits]\nzz = 1"),
    ("gateway.toml: [audit]", "[audit]\nzz = 1"),
    ("gateway.toml: [[alert]]", "[[alert]]\nzz = 1"),
    ("gateway.toml: [alert.webhook]", "[[alert]]\n[alert.webhook]\nzz = 1"),
    ("gateway.toml: [alert.ntfy]", "[[alert]]\n[alert.ntfy]\nzz = 1"),
    ("gateway.toml: [alert.mail]", "[[alert]]\n[alert.mail]\nzz = 1"),
];
const SERVICE: &str = "[[service]]\nname = \"a\"\ntarget = \"http://a\"\n";
/// The same, with what must stand before it.
const AGENT: &[(&str, &str, &str)] = &[
    ("agent.toml: the top", "", "zz = 1"),
    ("agent.toml: [[gateway]]", "", "[[gateway]]\nzz = 1"),
    ("agent.toml: [cameras]", "", "[cameras]\nzz = 1"),
    ("agent.toml: [portal]", "", "[portal]\nzz = 1"),
    ("agent.toml: [router]", "", "[router]\nzz = 1"),
    ("agent.toml: [port-mapping]", "", "[port-mapping]\nzz = 1"),
    ("agent.toml: [[service]]", "", "[[service]]\nzz = 1"),
    ("agent.toml: prepare", SERVICE, "prepare = [{ zz = 1 }]"),
    ("agent.toml: ready", SERVICE, "ready = { zz = 1 }"),
    ("agent.toml: mounts", SERVICE, "mounts = { \"/a/\" = { zz = 1 } }"),
    ("agent.toml: [service.pages]", SERVICE, "[service.pages]\nzz = 1"),
    ("agent.toml: entrances", SERVICE, "entrances = [{ zz = 1 }]"),
    ("agent.toml: path", SERVICE, "entrances = [{ path = { zz = 1 } }]"),
    ("agent.toml: [service.access]", SERVICE, "[service.access]\nzz = 1"),
    ("agent.toml: who", SERVICE, "[service.access]\nwho = \"zz\""),
    ("agent.toml: how", SERVICE, "[service.access]\nhow = \"zz\""),
    ("agent.toml: when", SERVICE, "[service.access]\nwhen = { zz = 1 }"),
    ("agent.toml: approval", SERVICE, "[service.access]\napproval = { zz = 1 }"),
    ("agent.toml: [service.access.limits]", SERVICE, "[service.access.limits]\nzz = 1"),
];

const ROUTER: [(&str, &str); 2] = [("router.toml: the top", "zz = 1"), ("router.toml: [[allow]]", "[[allow]]\nzz = 1")];

#[test]
fn every_key_of_all_files_is_documented_and_no_other() {
    let documented = documented(&page());
    let gateway = GATEWAY.iter().map(|(heading, text)| {
        let error = toml::from_str::<File>(text).unwrap_err();
        (*heading, error.to_string())
    });
    let agent = AGENT.iter().map(|(heading, before, text)| {
        let error = Settings::parse(&format!("{before}{text}\n"), Path::new("agent.toml")).unwrap_err();
        (*heading, error.to_string())
    });
    let router = ROUTER.iter().map(|(heading, text)| {
        let error = RouterSettings::parse(text, Path::new("router.toml")).unwrap_err();
        (*heading, error.to_string())
    });
    let mut seen = BTreeSet::new();
    for (heading, error) in gateway.chain(agent).chain(router) {
        let known = expected(&error);
        assert!(!known.is_empty(), "{heading}: {error}");
        assert_eq!(documented.get(heading), Some(&known), "docs/configuration.md, {heading}");
        seen.insert(heading);
    }
    assert_eq!(seen.len(), GATEWAY.len() + AGENT.len() + ROUTER.len());
    let strays: Vec<_> = documented.keys().filter(|t| t.contains(".toml: ") && !seen.contains(t.as_str())).collect();
    assert!(strays.is_empty(), "tables of keys that no parser was asked for: {strays:?}");
}

#[test]
fn the_limits_that_the_page_names_are_those_that_hold() {
    let (limits, flows) = (Limits::default(), FlowSettings::default());
    let table = [
        ("connections", limits.connections),
        ("connections-per-source", limits.connections_per_source),
        ("connections-per-port", limits.connections_per_port),
        ("handshakes", limits.handshakes),
        ("handshakes-per-source", limits.handshakes_per_source),
        ("requests-per-second-per-source", usize::try_from(limits.requests_per_source).unwrap()),
        ("requests-per-second-per-service", usize::try_from(limits.requests_per_service).unwrap()),
        ("visits-per-service", limits.visits_per_service),
        ("visits-per-source", limits.visits_per_source),
        ("ssh-connections-per-identity", limits.ssh_connections_per_identity),
        ("ssh-channels-per-identity", limits.ssh_channels_per_identity),
        ("ssh-connections-per-second-per-source", usize::try_from(limits.ssh_connections_per_second).unwrap()),
        ("udp-flow-idle-seconds", usize::try_from(flows.idle.as_secs()).unwrap()),
        ("udp-flows-per-port", flows.per_port),
        ("udp-flows-per-source", flows.per_source),
    ];
    let page = page();
    for (key, value) in table {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
        assert!(row.contains(&format!(", `{value}` |")), "{value}: {row}");
    }
}

#[test]
fn examples_in_the_documents_are_files_that_can_be_used() {
    let examples = examples();
    assert!(examples.len() >= 14, "{}", examples.len());
    for (file, text) in examples {
        match file.as_str() {
            "gateway.toml" => {
                let read: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                read.into_settings("/tmp/x".into()).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
            }
            "agent.toml" => {
                let read = Settings::parse(&text, Path::new("agent.toml"));
                read.unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
            "router.toml" => {
                let read = RouterSettings::parse(&text, Path::new("router.toml"));
                read.unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
            other => panic!("say in the first line which file this is of, not {other:?}:\n{text}"),
        }
    }
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let mut found = BTreeSet::new();
    for_each_source(&root().join("crates"), &mut |path, text| {
        if path.components().any(|part| part.as_os_str() == "src") {
            found.extend(metrics_in(text));
        }
    });
    assert!(found.len() >= 5, "{found:?}");
    assert_eq!(documented(&page()).get("Metrics"), Some(&found), "docs/configuration.md, Metrics");
}

#[test]
fn files_and_tests_that_the_documents_name_exist() {
    let mut sources = String::new();
    for folder in ["bench", "crates", "tests", "xtask"] {
        for_each_source(&root().join(folder), &mut |_, text| sources.push_str(text));
    }
    let (mut files, mut tests, mut missing) = (0, 0, Vec::new());
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/configuration.md",
        "docs/where.md",
        "docs/prepare.md",
        "docs/adding.md",
    ] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for name in text.lines().flat_map(quoted) {
            let is_missing = if let Some(places) = places(&name) {
                files += 1;
                !places.iter().all(|place| place.exists())
            } else if is_test(&name) {
                tests += 1;
                !sources.contains(&format!("fn {name}("))
            } else {
                false
            };
            if is_missing {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(files > 50 && tests > 30, "{files} files, {tests} tests");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Where a path lies that starts with one of our folders, or with a crate's name without `doorward-`. `a/{b,c}` is two.
fn places(name: &str) -> Option<Vec<PathBuf>> {
    let folders = ["crates", "tests", "xtask", "docs", "bench", "fuzz"];
    let rooms = ["core", "tunnel", "control", "gateway", "portal", "agent", "alerts", "frames"];
    let (first, rest) = name.split_once('/')?;
    let is_path = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '{')
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || "_-./{,}".contains(c));
    let start = match first {
        folder if folders.contains(&folder) => root().join(folder),
        room if rooms.contains(&room) => root().join("crates").join(format!("doorward-{room}")),
        "doorward" => root().join("crates/doorward"),
        _ => return None,
    };
    let (before, choices, after) = match rest.split_once('{').and_then(|(b, r)| Some((b, r.split_once('}')?))) {
        Some((before, (choices, after))) => (before, choices, after),
        None => (rest, "", ""),
    };
    is_path.then(|| choices.split(',').map(|choice| start.join(format!("{before}{choice}{after}"))).collect())
}

/// Names of tests are sentences; those of metrics look like them.
fn is_test(name: &str) -> bool {
    name.split('_').count() > 3
        && !name.starts_with("doorward_")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/configuration.md")).unwrap()
}

/// What a parser says it knows: "unknown field `zz`, expected one of `a`, `b`".
fn expected(error: &str) -> BTreeSet<String> {
    let (_, known) = error.split_once("expected ").unwrap_or_else(|| panic!("no list of keys: {error}"));
    quoted(known)
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Of each heading, what stands quoted in the first column of its tables.
fn documented(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut heading = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().replace('`', "");
        }
        if line.starts_with("| `") {
            let first = line.split('|').nth(1).unwrap_or_default();
            sections.entry(heading.clone()).or_default().extend(quoted(first));
        }
    }
    sections
}

/// Each TOML block, with the file that it says in its first line to be of.
fn examples() -> Vec<(String, String)> {
    let pages = ["README.md", "docs/configuration.md", "docs/policies.md", "docs/where.md", "docs/prepare.md"];
    let texts = pages.map(|page| fs::read_to_string(root().join(page)).unwrap());
    let blocks = texts.iter().flat_map(|text| text.split("```toml\n").skip(1));
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned());
    let with_file = |block: String| {
        let first = block.lines().next().and_then(|line| line.trim_start().strip_prefix("# ")).unwrap_or_default();
        (first.split([' ', ':', ',']).next().unwrap_or_default().to_owned(), block)
    };
    blocks.map(with_file).collect()
}

/// The names in `counter!("…"`, `gauge!` and `histogram!`.
fn metrics_in(text: &str) -> Vec<String> {
    let uses = ["counter!(", "gauge!(", "histogram!("].into_iter().flat_map(|call| text.split(call).skip(1));
    uses.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).map(str::to_owned).collect()
}

fn for_each_source(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_source(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
