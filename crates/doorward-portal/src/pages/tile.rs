//! One service as its visitors see it, on the dashboard and on its own page.

use super::cameras::{Camera, may_look};
use super::opening::{self, Lapse};
use super::reach::OwnReach;
use crate::PortalState;
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::figures::Figures;
use crate::words::Language;
use doorward_control::{LinkState, Reach, ServiceRecord, SessionRange, SessionsOf};
use doorward_core::access::{Denied, How, Proof, Who, preview};
use doorward_core::authority::Action;
use doorward_core::service::ServiceKind;
use doorward_core::{ServiceId, SessionId};
use jiff::Timestamp;
use std::collections::HashMap;

pub(super) struct Tile {
    pub(super) id: ServiceId,
    pub(super) title: String,
    /// As `device/service`.
    pub(super) path: String,
    pub(super) is_online: bool,
    /// Online or offline; `None`: it never came.
    pub(super) since: Option<Timestamp>,
    pub(super) standing: Standing,
    /// Whether one person has it at a time.
    pub(super) is_exclusive: bool,
    /// Where browsers go.
    pub(super) links: Vec<String>,
    /// What can be seen of it here; a camera is looked at on its page, not at its address.
    pub(super) cameras: Vec<Camera>,
    is_camera: bool,
    /// What other programs want to know.
    pub(super) places: Vec<String>,
    /// For whoever has the device.
    pub(super) figures: Option<Figures>,
}

pub(super) enum Standing {
    /// It may be used as it is; until then, if there is an end.
    Free(Option<Timestamp>),
    /// A session must be opened, for so many minutes. With why the last one is over, if that was just now.
    Shut(Vec<i64>, Option<Lapse>),
    /// By a session that ends then.
    Open { session: SessionId, until: Timestamp, reach: Option<OwnReach> },
    /// Outside its hours.
    Closed(Option<Timestamp>),
}

/// How the last session of a person at each service ended, of those that ended within the hour.
pub(super) struct Lapses(HashMap<ServiceId, Lapse>);

/// Of one person's sessions, those of a busy hour.
const LOOKED_AT: u32 = 50;

impl Lapses {
    pub(super) async fn of(state: &PortalState, signed_in: &SignedIn) -> Result<Self, doorward_control::StoreError> {
        let now = (state.clock)();
        let of = SessionsOf { account: Some(signed_in.person.id), ..SessionsOf::default() };
        let range = SessionRange { with_ended: true, before: None, limit: LOOKED_AT, of };
        let mut last = HashMap::new();
        // The oldest first, so that the newest stays.
        for session in state.control.sessions_in(range, now).await?.into_iter().rev() {
            last.insert(session.session.service, Lapse::of_session(&session, &signed_in.person.name, now));
        }
        Ok(Self(last.into_iter().filter_map(|(id, lapse)| Some((id, lapse?))).collect()))
    }
}

impl Tile {
    /// `None`: it is not for them.
    pub(super) fn of(
        state: &PortalState,
        signed_in: &SignedIn,
        record: &ServiceRecord,
        lapses: &mut Lapses,
        source: Source,
    ) -> Option<Self> {
        let snapshot = state.control.snapshot();
        let service = &record.service;
        let (links, places) = reach(state, record);
        let asker = Asker::at_any_page(signed_in, Action::ListDevices);
        let is_theirs = snapshot.device(service.device).is_some_and(|device| asker.gets_at_device(&device));
        let (is_online, since) = match state.control.presence().device(service.device).link {
            LinkState::Online { since, .. } => (true, Some(since)),
            LinkState::Offline { since } => (false, since),
        };
        let standing = standing(state, signed_in, record, lapses, source)?;
        let cameras = if may_look(&standing) { Camera::all_of(record) } else { Vec::new() };
        Some(Self {
            id: service.id,
            title: service.title.clone(),
            path: service.path(),
            is_online,
            since,
            standing,
            is_exclusive: service.policy.exclusive.is_some(),
            links,
            cameras,
            is_camera: service.kind == ServiceKind::Camera,
            places,
            figures: is_theirs.then(|| Figures::of_service(state, service.id)),
        })
    }

    /// What is read out when it changes.
    pub(super) fn said(&self, language: &Language) -> String {
        let link = language.say(if self.is_online { "online" } else { "offline" });
        let standing = match &self.standing {
            Standing::Free(_) => None,
            Standing::Open { .. } => Some(language.say("open for you")),
            Standing::Shut(_, Some(lapse)) => Some(language.say(lapse.why())),
            Standing::Shut(_, None) => Some(language.say("not open")),
            Standing::Closed(_) => Some(language.say("Outside its hours.")),
        };
        let standing = standing.map(|words| format!(", {words}"));
        format!("{}: {link}{}", self.title, standing.unwrap_or_default())
    }

    /// Of the session that is open.
    pub(super) fn own_lines(&self) -> &[String] {
        match &self.standing {
            Standing::Open { reach: Some(reach), .. } => &reach.lines,
            Standing::Open { reach: None, .. } | Standing::Free(_) | Standing::Shut(..) | Standing::Closed(_) => &[],
        }
    }

    /// Whether one press leads to it.
    pub(super) fn has_page(&self) -> bool {
        !self.goes().is_empty()
    }

    /// Where one press leads.
    pub(super) fn goes(&self) -> &[String] {
        if self.is_camera { &[] } else { &self.links }
    }
}

fn standing(
    state: &PortalState,
    signed_in: &SignedIn,
    record: &ServiceRecord,
    lapses: &mut Lapses,
    source: Source,
) -> Option<Standing> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let service = &record.service;
    let session = snapshot.session_for(signed_in.person.id, service.id).filter(|session| now < session.until);
    let mut proofs = vec![Proof::Login(signed_in.login.id)];
    proofs.extend(session.map(|session| Proof::Session(session.id)));
    match (preview(service, &proofs, &*snapshot, now), session, service.policy.how) {
        (Ok(until), Some(session), How::OnRequest { .. }) => {
            let until = until.unwrap_or(session.until).min(session.until);
            let reach = OwnReach::of(state, signed_in, session, source, "/");
            Some(Standing::Open { session: session.id, until, reach })
        }
        (Ok(until), _, _) => Some(Standing::Free(until.filter(|until| *until != signed_in.login.until))),
        (Err(Denied::SessionNeeded | Denied::SessionOver | Denied::ApprovalNeeded | Denied::InUse), _, _) => {
            Some(Standing::Shut(opening::choices(service), lapses.0.remove(&service.id)))
        }
        (Err(Denied::Closed { opens }), _, _) => Some(Standing::Closed(opens)),
        (Err(Denied::BudgetSpent { until }), _, _) => Some(Standing::Closed(Some(until))),
        (Err(Denied::NeedsMore(_) | Denied::Full), _, _) => Some(Standing::Closed(None)),
        (
            Err(
                Denied::NotOffered
                | Denied::DeviceRevoked
                | Denied::Nobody
                | Denied::SourceNetwork
                | Denied::OtherSource
                | Denied::PasswordNeeded
                | Denied::NotOneOfThem
                | Denied::NotASender
                | Denied::ShareOver
                | Denied::LoginOver
                | Denied::AccountDisabled
                | Denied::AccountEnded
                | Denied::ReadOnly,
            ),
            _,
            _,
        ) => None,
    }
}

/// Where browsers go, and what other programs want to know: a place, or the line that leads there by SSH.
fn reach(state: &PortalState, record: &ServiceRecord) -> (Vec<String>, Vec<String>) {
    let (snapshot, service) = (state.control.snapshot(), &record.service);
    let (mut links, mut places) = (Vec::new(), Vec::new());
    for reach in state.control.reach(record) {
        match &reach {
            Reach::Web { .. } | Reach::Tls { .. } => links.push(reach.to_string()),
            // A raw port cannot tell who comes: whoever must be known is not let in there.
            Reach::Port { .. } if matches!(service.policy.who, Who::People(_)) => {}
            Reach::Port { .. } => places.push(reach.to_string()),
        }
    }
    let by_ssh = record.virtual_port.zip(snapshot.site().ssh_port).filter(|_| service.kind == ServiceKind::Tcp);
    places.extend(by_ssh.map(|(port, ssh)| {
        let (gateway, device) = (snapshot.site().port_host(), &service.device_name);
        match port {
            22 => format!("ssh -J {gateway}:{ssh} {device}"),
            port => format!("ssh -p {ssh} -N -L {port}:{device}:{port} {gateway}"),
        }
    }));
    // Bound to its person: no port in public could tell who comes.
    let is_web = service.kind.has_web_address();
    places.extend((!is_web).then(|| format!("doorward open {} --for 1h", service.path())));
    (links, places)
}

/// How much, as people say it.
pub(super) fn size(bytes: &u64, language: &Language) -> String {
    let bytes = *bytes;
    let units = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut amount, mut unit) = (bytes as f64 / 1000.0, 0);
    while amount >= 999.5 && unit + 1 < units.len() {
        (amount, unit) = (amount / 1000.0, unit + 1);
    }
    let digits = if amount < 9.95 { format!("{amount:.1}") } else { format!("{amount:.0}") };
    let digits = if *language == Language::English { digits } else { digits.replace('.', ",") };
    format!("{digits} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_in_the_readers_way() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12 kB"),
            (999_600, "1.0 MB"),
            (3_450_000_000, "3.5 GB"),
            (u64::MAX, "18446744 TB"),
        ];
        for (bytes, shown) in table {
            assert_eq!(size(&bytes, &Language::English), shown);
        }
        assert_eq!(size(&1500, &Language::German), "1,5 kB");
    }
}
