//! Our reading of deny.toml: the same list cargo-deny reads. A key that is not here is refused, so that nothing stands
//! in the file that CI, which may lack cargo-deny, does not enforce.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::report::Level;
use crate::process::root;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deny {
    pub(crate) graph: Graph,
    pub(crate) advisories: Advisories,
    pub(crate) licenses: Licenses,
    pub(crate) bans: Bans,
    pub(crate) sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    /// Dependencies of other targets are never built, and not looked at.
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Advisories {
    pub(crate) unmaintained: Unmaintained,
    pub(crate) ignore: Vec<Ignore>,
}

/// Which abandoned crates are a problem: all, or those our own manifests name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unmaintained {
    All,
    Workspace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ignore {
    pub(crate) id: String,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Licenses {
    pub(crate) allow: Vec<String>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) unused_allowed_license: Level,
    pub(crate) unused_license_exception: Level,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Bans {
    pub(crate) multiple_versions: Level,
    pub(crate) deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Sources {
    pub(crate) unknown_registry: Level,
    pub(crate) unknown_git: Level,
}

impl Deny {
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml (a key only cargo-deny knows would not be enforced everywhere)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_understood_completely() {
        let deny = Deny::read().unwrap();
        assert!(!deny.graph.targets.is_empty());
        assert!(deny.bans.deny.iter().any(|ban| ban.name == "ring"));
    }
}
