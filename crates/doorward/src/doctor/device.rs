//! A device: each gateway that it joined, by every carrier; how it stands there; and the services it offers.

use super::carriers::{self, Outcome, Tried};
use super::names::{self, Resolved};
use super::{Finding, LOOK, files, steps, targets};
use crate::agent::local::{self, Standing as Told};
use crate::agent::{Places, SOFTWARE, environment_proxy, read_settings};
use crate::terminal::story;
use doorward_agent::{Membership, Settings, StateDir};
use doorward_core::names::Label;
use doorward_core::site::Carrier;
use doorward_tunnel::messages::Leaving;
use doorward_tunnel::{AgentStanding, Established, HandshakeError, Introduction};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

const AGENT_LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn examine(places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = read_settings(places).unwrap_or_else(|error| {
        findings.push(Finding::wrong(
            "agent.toml",
            story(&error),
            "correct it; until then the agent uses what it read last, or does not start",
        ));
        Settings::default()
    });
    let memberships = match memberships(&places.state) {
        Ok(memberships) => memberships,
        Err(error) => {
            findings.push(Finding::wrong("keys", story(&error), "run doctor as the user that runs the agent"));
            return findings;
        }
    };
    let (agent, finding) = find_agent(places).await;
    findings.push(finding);
    findings.extend(files::examine(&local::socket(&places.state)));
    let proxy = settings.proxy.clone().or_else(|| environment_proxy().ok().flatten());
    let looks = memberships.iter().map(async |membership| {
        let proxy = proxy.as_ref().and_then(|rule| rule.for_addresses(&membership.site.addresses));
        let (addresses, keys) = (&membership.site.addresses, &membership.site.keys);
        let naming = async { if proxy.is_some() { Vec::new() } else { names_of(membership).await } };
        let (named, tried) = tokio::join!(naming, carriers::try_all(addresses, keys, proxy.as_ref()));
        about_gateway(membership, named, tried, &agent).await
    });
    let (gateways, services) =
        tokio::join!(futures_util::future::join_all(looks), targets::examine(&settings.services));
    findings.extend(gateways.into_iter().flatten());
    findings.extend(services);
    findings.extend(steps::examine(&settings.services));
    findings
}

/// Two processes with one key would look like two machines, so the agent is asked where one runs, and only where none
/// does may somebody else speak in its place.
enum Agent {
    Runs(BTreeMap<Label, Told>),
    Silent,
    Absent { _lock: local::Lock },
}

async fn find_agent(places: &Places) -> (Agent, Finding) {
    let asking = timeout(AGENT_LIMIT, local::standings(&places.state));
    if let Ok(Some(told)) = asking.await {
        return (Agent::Runs(told), Finding::fine("agent", "it runs"));
    }
    match local::lock(&places.state) {
        Ok(lock) => {
            let remedy = "start it: `doorward agent`; at every start: `doorward install agent`";
            (Agent::Absent { _lock: lock }, Finding::wrong("agent", "it does not run", remedy))
        }
        Err(error) => {
            let remedy = "run doctor as the user that runs the agent; start the agent anew after an update";
            (Agent::Silent, Finding::note("agent", format!("it cannot be asked: {}", story(&error)), remedy))
        }
    }
}

fn memberships(state: &std::path::Path) -> anyhow::Result<Vec<Membership>> {
    let state = StateDir::new(state);
    let mut memberships = Vec::new();
    for gateway in state.gateways()? {
        memberships.extend(state.membership(&gateway)?);
    }
    Ok(memberships)
}

/// Behind a proxy it is the proxy that looks names up.
async fn names_of(membership: &Membership) -> Vec<Finding> {
    let hop = format!("gateway {}", membership.gateway);
    let looks =
        names::dialled(&membership.site.addresses).into_iter().map(async |name| match names::resolve(&name).await {
            Resolved::To(ips) => {
                let ips: Vec<_> = ips.iter().map(ToString::to_string).collect();
                Finding::fine(&hop, format!("{name} resolves to {}", ips.join(", ")))
            }
            Resolved::Nothing => Finding::wrong(
                &hop,
                format!("{name} does not resolve"),
                "look at this device's DNS, then at the gateway's records",
            ),
            Resolved::Silence => {
                Finding::wrong(&hop, format!("{name}: DNS did not answer within {} s", LOOK.as_secs()), names::RESOLVER)
            }
        });
    futures_util::future::join_all(looks).await
}

async fn about_gateway(
    membership: &Membership,
    mut findings: Vec<Finding>,
    tried: Vec<Tried>,
    agent: &Agent,
) -> Vec<Finding> {
    let hop = format!("gateway {}", membership.gateway);
    findings.extend(carriers_of(&hop, &tried));
    let established = tried.into_iter().find_map(|tried| match tried.outcome {
        Outcome::Answered { established, .. } => Some(established),
        Outcome::Stranger { .. } | Outcome::Failed { .. } => None,
    });
    match (agent, established) {
        (Agent::Runs(told), _) => findings.push(standing_told(&hop, told.get(&membership.gateway))),
        (Agent::Absent { .. }, Some(established)) => {
            findings.push(ask_standing(&hop, membership, *established).await);
        }
        (Agent::Absent { .. }, None) | (Agent::Silent, _) => {}
    }
    findings
}

/// One carrier is enough; a worse one is worth a note.
fn carriers_of(hop: &str, tried: &[Tried]) -> Vec<Finding> {
    let is_reached = tried.iter().any(|tried| matches!(tried.outcome, Outcome::Answered { .. }));
    let describe = |tried: &Tried| {
        let endpoint = &tried.endpoint;
        match &tried.outcome {
            Outcome::Answered { after, .. } => {
                Finding::fine(hop, format!("{endpoint} answers with the right site key ({} ms)", after.as_millis()))
            }
            Outcome::Stranger { why } => {
                let what = format!("{endpoint} is somebody else, or a gateway with another site key: {why}");
                Finding::wrong(
                    hop,
                    what,
                    "if the gateway was made anew, join it again: `doorward join --replace`; otherwise somebody is between you",
                )
            }
            Outcome::Failed { why } if is_reached => {
                let remedy = match endpoint.carrier {
                    Carrier::Quic => {
                        "links use TCP meanwhile, which is slower where packets get lost; let UDP out to this port"
                    }
                    Carrier::Tls | Carrier::WebSocket | Carrier::Memory | Carrier::Ssh => {
                        "another carrier works, so this costs nothing now"
                    }
                };
                Finding::note(hop, format!("{endpoint} cannot be reached: {why}"), remedy)
            }
            Outcome::Failed { why } => {
                let what = format!("{endpoint} cannot be reached: {why}");
                Finding::wrong(
                    hop,
                    what,
                    "look at this device's network and DNS, then at the gateway with `doorward doctor` there",
                )
            }
        }
    };
    tried.iter().map(describe).collect()
}

fn standing_told(hop: &str, told: Option<&Told>) -> Finding {
    match told {
        Some(Told::Online { device, carrier }) => {
            Finding::fine(hop, format!("the agent is connected by {carrier}, as {device}"))
        }
        Some(Told::Connecting) => {
            Finding::wrong(hop, "the agent is not connected", "see why above; the agent tries on by itself")
        }
        Some(Told::Refused { message }) => Finding::wrong(hop, format!("it refuses this device: {message}"), REFUSED),
        None => Finding::wrong(
            hop,
            "the running agent does not know this gateway",
            "start the agent anew, with the same --state",
        ),
    }
}

const REFUSED: &str = "ask its owner for an invite (`doorward invite`, or `doorward devices replace NAME`), then `doorward join --replace`";

/// Stands in for the agent, which does not run, for a moment.
async fn ask_standing(hop: &str, membership: &Membership, established: Established) -> Finding {
    let who =
        Introduction { instance: rand::random(), epoch: 1, join: None, software: SOFTWARE.to_owned(), metered: false };
    let introduced = timeout(LOOK, established.introduce(&membership.key, &who)).await;
    match introduced {
        Ok(Ok(standing)) => {
            let name = leave(standing).await;
            Finding::fine(hop, format!("it knows this device, as {name}"))
        }
        Ok(Err(HandshakeError::Refused(refused))) => {
            Finding::wrong(hop, format!("it refuses this device: {}", refused.message), REFUSED)
        }
        Ok(Err(error)) => Finding::wrong(
            hop,
            format!("it does not speak with this device: {error}"),
            "update both to the same release",
        ),
        Err(_) => {
            Finding::wrong(hop, "it does not answer this device", "look at the gateway with `doorward doctor` there")
        }
    }
}

async fn leave(standing: AgentStanding) -> String {
    let AgentStanding { link, welcome, driver, .. } = standing;
    let leaving = async {
        tokio::select! {
            _ = driver => {}
            () = link.close(Leaving::Stopping) => {}
        }
    };
    // It knows anyway when the connection ends.
    let _ = timeout(Duration::from_secs(1), leaving).await;
    Label::parse(&welcome.device_name).map_or_else(|_| "?".to_owned(), |name| name.to_string())
}
