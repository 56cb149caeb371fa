//! Who may depend on whom among our own crates, in every kind of dependency: a test that needs both ends of a
//! forbidden arrow belongs into `tests/`.

use anyhow::Result;
use cargo_metadata::MetadataCommand;

use super::report::Report;
use crate::process::root;

enum May {
    Use(&'static [&'static str]),
    UseAll,
}

const ARROWS: &[(&str, May)] = &[
    ("doorward-core", May::Use(&[])),
    ("doorward-dyndns", May::Use(&["doorward-core"])),
    ("doorward-frames", May::Use(&["doorward-core"])),
    ("doorward-portmap", May::Use(&["doorward-core"])),
    ("doorward-router", May::Use(&["doorward-core"])),
    ("doorward-tunnel", May::Use(&["doorward-core"])),
    ("doorward-control", May::Use(&["doorward-core"])),
    ("doorward-alerts", May::Use(&["doorward-core", "doorward-control"])),
    ("doorward-oidc", May::Use(&["doorward-core"])),
    ("doorward-portal", May::Use(&["doorward-core", "doorward-control", "doorward-oidc"])),
    ("doorward-gateway", May::Use(&["doorward-core", "doorward-control", "doorward-tunnel", "doorward-frames"])),
    (
        "doorward-agent",
        May::Use(&["doorward-core", "doorward-tunnel", "doorward-portmap", "doorward-dyndns", "doorward-frames"]),
    ),
    (
        "doorward",
        May::Use(&[
            "doorward-core",
            "doorward-dyndns",
            "doorward-frames",
            "doorward-portmap",
            "doorward-router",
            "doorward-tunnel",
            "doorward-control",
            "doorward-portal",
            "doorward-gateway",
            "doorward-agent",
            "doorward-alerts",
            "doorward-oidc",
        ]),
    ),
    ("doorward-lab", May::UseAll),
    ("doorward-conformance", May::UseAll),
    ("doorward-world", May::UseAll),
    ("doorward-peers", May::UseAll),
    ("doorward-replay", May::UseAll),
    ("doorward-fuzz", May::UseAll),
    ("doorward-bench", May::UseAll),
    // It must build in seconds.
    ("xtask", May::Use(&[])),
];

/// A crate of ours and the crates of ours it depends on.
struct Crate {
    name: String,
    uses: Vec<String>,
}

pub(crate) fn check() -> Result<()> {
    let mut report = Report::default();
    judge(&ours()?, &mut report);
    report.finish()
}

fn ours() -> Result<Vec<Crate>> {
    let metadata =
        MetadataCommand::new().current_dir(root()).no_deps().other_options(["--locked".to_owned()]).exec()?;
    let names: Vec<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let is_ours = |name: &String| name.starts_with("doorward") || names.contains(name);
    let crates = metadata.packages.iter().map(|package| {
        let uses = package.dependencies.iter().map(|dependency| dependency.name.clone()).filter(is_ours);
        Crate { name: package.name.to_string(), uses: uses.collect() }
    });
    Ok(crates.collect())
}

fn judge(crates: &[Crate], report: &mut Report) {
    for Crate { name, uses } in crates {
        let Some((_, may)) = ARROWS.iter().find(|(known, _)| known == name) else {
            report.problem(format!("{name} is not in the table of arrows: say there what it may depend on"));
            continue;
        };
        for used in uses.iter().filter(|used| *used != name) {
            if let Some(allowed) = forbids(may, used) {
                report.problem(format!("{name} → {used} is forbidden: {name} may depend on {allowed}"));
            }
        }
    }
}

/// What is allowed instead, if this one is not.
fn forbids(may: &May, used: &str) -> Option<String> {
    match may {
        May::UseAll => None,
        May::Use(allowed) if allowed.contains(&used) => None,
        May::Use([]) => Some("none of ours".to_owned()),
        May::Use(allowed) => Some(allowed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(edges: &[(&str, &str)]) -> Vec<String> {
        let crates: Vec<Crate> =
            edges.iter().map(|(name, used)| Crate { name: (*name).into(), uses: vec![(*used).into()] }).collect();
        let mut report = Report::default();
        judge(&crates, &mut report);
        report.problems().to_vec()
    }

    #[test]
    fn an_arrow_of_the_table_is_allowed() {
        assert!(problems(&[("doorward-gateway", "doorward-tunnel"), ("doorward-lab", "doorward-agent")]).is_empty());
    }

    #[test]
    fn a_forbidden_arrow_names_the_edge_and_what_is_allowed() {
        assert_eq!(
            problems(&[("doorward-portal", "doorward-gateway")]),
            [
                "doorward-portal → doorward-gateway is forbidden: doorward-portal may depend on doorward-core, doorward-control, doorward-oidc"
            ]
        );
    }

    #[test]
    fn the_two_ends_and_the_portal_stay_apart() {
        let never = [
            ("doorward-gateway", "doorward-agent"),
            ("doorward-agent", "doorward-gateway"),
            ("doorward-gateway", "doorward-portal"),
            ("doorward-router", "doorward-tunnel"),
            ("doorward-core", "doorward-control"),
            ("doorward", "doorward-lab"),
        ];
        for edge in never {
            assert_eq!(problems(&[edge]).len(), 1, "{edge:?}");
        }
    }

    #[test]
    fn an_unknown_crate_is_a_problem() {
        assert_eq!(problems(&[("doorward-extra", "doorward-core")]).len(), 1);
        assert_eq!(problems(&[("doorward-agent", "doorward-extra")]).len(), 1);
    }

    #[test]
    fn a_crate_may_name_itself_to_switch_on_its_features_for_tests() {
        assert!(problems(&[("doorward-core", "doorward-core")]).is_empty());
    }
}
