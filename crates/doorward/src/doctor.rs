//! `doorward doctor`: goes along every hop, on a gateway's machine and on a device, and says of each whether it is
//! fine, and if not, what to do. It only looks; every look has a limit.

mod carriers;
mod certificate;
mod clock;
mod device;
mod files;
mod firewall;
mod gateway;
mod home;
mod names;
mod orders;
mod steps;
mod targets;

#[cfg(test)]
mod tests;

use crate::admin::Owner;
use crate::agent::Places;
use crate::terminal::plain;
use doorward_agent::StateDir;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// What was found at one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub standing: Standing,
    pub hop: String,
    pub what: String,
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Fine,
    /// May be as it should be; only the owner knows.
    Note,
    Wrong,
}

/// For one look at the network; several of them are taken at once.
const LOOK: Duration = Duration::from_secs(6);
const IN_ALL: Duration = Duration::from_secs(19);

/// Examines what there is here: the gateway of the data directory, the agent of the state directory, or both.
pub async fn examine(owner: &Owner, places: &Places) -> Vec<Finding> {
    let is_gateway = may_exist(&owner.socket()) || may_exist(&owner.directory().join("doorward.db"));
    let (gateway, device) = tokio::join!(
        within("gateway", is_gateway, gateway::examine(owner)),
        within("agent", is_device(places), device::examine(places)),
    );
    let mut findings = gateway;
    findings.extend(device);
    if findings.is_empty() {
        let what = format!(
            "nothing of Doorward is here: no gateway in {}, no joined gateway in {}",
            owner.directory().display(),
            places.state.display()
        );
        let remedy = "run it as the user that runs Doorward, name the places with --data and --state, or begin with \
                      `doorward serve` or `doorward join`";
        findings.push(Finding::wrong("here", what, remedy));
    }
    findings
}

async fn within(hop: &str, is_here: bool, looks: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    if !is_here {
        return Vec::new();
    }
    timeout(IN_ALL, looks).await.unwrap_or_else(|_| {
        let what = format!("not everything could be looked at within {} s", IN_ALL.as_secs());
        vec![Finding::wrong(hop, what, "look at the machine's load and its DNS, and try again")]
    })
}

/// Whether there is something, or nothing can be said: that is a finding too.
fn may_exist(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|error| error.kind() != ErrorKind::NotFound, |_| true)
}

/// What cannot be read is examined too: that is a finding.
fn is_device(places: &Places) -> bool {
    StateDir::new(&places.state).gateways().map_or(true, |gateways| !gateways.is_empty())
}

/// A line for each finding.
pub fn words(findings: &[Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.hop.chars().count()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let mark = match finding.standing {
            Standing::Fine => "fine",
            Standing::Note => "note",
            Standing::Wrong => "WRONG",
        };
        let remedy = finding.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let text = plain(&format!("{}{remedy}", finding.what));
        format!("{mark:<5}  {hop:<widest$}  {text}\n", hop = plain(&finding.hop))
    };
    findings.iter().map(line).collect()
}

pub fn count_wrong(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.standing == Standing::Wrong).count()
}

impl Finding {
    fn fine(hop: &str, what: impl Into<String>) -> Self {
        Self { standing: Standing::Fine, hop: hop.to_owned(), what: what.into(), remedy: None }
    }

    fn note(hop: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { standing: Standing::Note, hop: hop.to_owned(), what: what.into(), remedy }
    }

    fn wrong(hop: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { standing: Standing::Wrong, ..Self::note(hop, what, remedy) }
    }
}
