//! What the portal wishes a device to offer, told to its agent, and what the agent says to it. The agent's word is for people
//! to read: it is kept short, and nothing is decided by it.

use doorward_control::{Control, Finding, LinkId, Refusal, ScanState, Told, Wanted};
use doorward_core::DeviceId;
use doorward_core::addition::{Addition, MAX_ADDITIONS};
use doorward_core::names::Label;
use doorward_tunnel::GatewayLink;
use doorward_tunnel::messages::{Additions, AdditionsReport, Findings, Message};
use tokio::sync::watch;

/// One link's part in it.
pub(super) struct AdditionsOf {
    control: Control,
    device: DeviceId,
    link: LinkId,
    wanted: watch::Receiver<u64>,
    /// `None`: the agent has not said that it takes wishes.
    said: Option<Option<Wanted>>,
}

/// Characters of what an agent says of one thing.
const MOST: usize = 300;
const MOST_RANGES: usize = 64;
const MOST_FINDINGS: usize = 200;

impl AdditionsOf {
    pub(super) fn new(control: &Control, device: DeviceId, link: LinkId) -> Self {
        Self { control: control.clone(), device, link, wanted: control.watch_wanted(device), said: None }
    }

    /// Resolves when there may be something to tell.
    pub(super) async fn changed(&mut self) {
        if self.wanted.changed().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) async fn hear(&mut self, report: AdditionsReport, link: &GatewayLink) {
        self.control.hear_of_additions(self.device, self.link, told(report));
        self.said.get_or_insert(None);
        self.tell(link).await;
    }

    pub(super) fn hear_of_scan(&self, found: Findings) {
        let state = match found.error {
            Some(why) => ScanState::Failed(short(&why)),
            None => {
                let mut findings: Vec<_> =
                    found.findings.into_iter().take(MOST_FINDINGS).filter_map(|found| finding(&found)).collect();
                findings.dedup();
                ScanState::Over(findings)
            }
        };
        self.control.hear_of_scan(self.device, found.scan, state);
    }

    /// All that is wished for, unless the agent was told just that.
    pub(super) async fn tell(&mut self, link: &GatewayLink) {
        let Some(said) = &mut self.said else { return };
        let wanted = self.control.wanted(self.device);
        if said.as_ref() == Some(&wanted) {
            return;
        }
        let wish = |wish: &Addition| serde_json::to_string(wish).expect("text can be written as JSON");
        let services = wanted.services.iter().map(wish).collect();
        let message = Message::Additions(Additions { services, scan: wanted.scan });
        *said = Some(wanted);
        link.say(message).await;
    }
}

impl Drop for AdditionsOf {
    fn drop(&mut self) {
        self.control.forget_additions(self.device, self.link);
    }
}

fn told(report: AdditionsReport) -> Told {
    let refusals = report.refusals.into_iter().take(MAX_ADDITIONS).filter_map(|refusal| {
        let refused = Refusal { why: short(&refusal.why), needs: refusal.needs.as_deref().map(short) };
        Some((Label::parse(&refusal.service).ok()?, refused))
    });
    Told {
        may_offer: report.may_offer.iter().take(MOST_RANGES).map(|range| short(range)).collect(),
        may_scan: report.may_scan,
        refusals: refusals.collect(),
    }
}

/// `None`: nothing that could be wished for.
fn finding(found: &doorward_tunnel::messages::Finding) -> Option<Finding> {
    let name = Label::parse(&found.name).ok()?;
    let (target, preset) = (found.target.clone(), found.preset.clone());
    let wish = Addition { name, title: None, target, preset };
    wish.check().ok()?;
    let Addition { name, title: _, target, preset } = wish;
    Some(Finding { kind: short(&found.kind), target, preset, name })
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}
