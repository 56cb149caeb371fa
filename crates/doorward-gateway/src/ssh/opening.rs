//! Sessions by SSH: `ssh gw open zumi01/jupyter --for 30m`, `ssh gw sessions`, `ssh gw end 7`. The person is whoever's key it
//! was; whether they may is decided where sessions are made.

use super::Room;
use super::greeting::way_to;
use super::inward::{NOTHING_HERE, prohibited};
use super::session::{SshSession, Who};
use super::terminal::Terminal;
use doorward_control::{Opening, SessionError, SessionRequest};
use doorward_core::access::{Denied, Facts};
use doorward_core::names::Label;
use doorward_core::service::Service;
use doorward_core::session::{Session as Opened, SessionRefusal};
use doorward_core::ssh::SessionWish;
use doorward_core::{AccountId, SessionId};
use jiff::{SignedDuration, Timestamp};
use russh::server::Session;
use russh::{ChannelId, ChannelOpenFailure};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

impl SshSession {
    pub(super) fn heed(&self, wish: SessionWish, session: &Session, id: ChannelId, mut terminal: Terminal) {
        let (handle, room, source) = (session.handle(), self.room.clone(), self.peer.ip());
        let account = match &self.who {
            Who::Person(account) => Some(*account),
            Who::Guest | Who::Device(_) | Who::Sender { .. } => None,
        };
        self.room.tasks.spawn(async move {
            // `core::ssh` gives this meaning to nobody but people.
            let done = match account {
                Some(account) => room.heed(wish, account, source).await,
                None => Err("sessions are people's".to_owned()),
            };
            match done {
                Ok(Done { text, readied: None }) => terminal.end(&text, 0, &handle, id).await,
                Ok(Done { text, readied: Some(service) }) => {
                    terminal.say(&format!("{text}\n")).await;
                    let (last, is_well) = room.tell_progress(&service, &mut terminal).await;
                    terminal.end(&last, u32::from(!is_well), &handle, id).await;
                }
                Err(why) => terminal.end(&format!("{why}\n"), 1, &handle, id).await,
            }
        });
    }
}

/// What was done, in words.
struct Done {
    text: String,
    /// A service that is made ready for them now.
    readied: Option<Arc<Service>>,
}

impl Room {
    async fn heed(&self, wish: SessionWish, account: AccountId, source: IpAddr) -> Result<Done, String> {
        let said = |text| Done { text, readied: None };
        match wish {
            SessionWish::Open { device, service, length, takes_over } => {
                self.open_session(account, (&device, &service), (length, takes_over), source).await
            }
            SessionWish::Leave { device, service } => self.leave_line(account, &device, &service).await.map(said),
            SessionWish::Requests => self.list_requests(account).await.map(said),
            SessionWish::Answer { request, is_yes } => {
                self.answer_request(request, account, is_yes, source).await.map(said)
            }
            SessionWish::List => Ok(said(self.list_sessions(account))),
            SessionWish::End(id) => self.end_session(account, id).await.map(said),
        }
    }

    async fn open_session(
        &self,
        account: AccountId,
        (device, service): (&Label, &Label),
        (length, takes_over): (SignedDuration, bool),
        source: IpAddr,
    ) -> Result<Done, String> {
        // Whether there is such a thing is told to nobody who may not use it.
        let nothing = || format!("there is no {device}/{service} that you may open");
        let snapshot = self.admission.control.snapshot();
        let found = snapshot.device_by_name(device).and_then(|found| snapshot.record_of(found.id, service));
        let record = found.ok_or_else(nothing)?;
        let (service_id, proofs) = (record.service.id, Vec::new());
        let request = SessionRequest { account, service: service_id, length, source: Some(source), id: None, proofs };
        let (control, now) = (&self.admission.control, Timestamp::now());
        let opened = if takes_over {
            control.take_over(request, now).await
        } else {
            control.request_session(request, now).await
        };
        let opened = opened.map_err(|error| if is_told(&error) { error.to_string() } else { nothing() })?;
        let opened = match opened {
            Opening::Open(session) => session,
            Opening::InLine(turn) => return Err(self.line_text(&record.service, account, &turn).await),
            Opening::Asked(request) => return Err(self.asked_text(&request)),
        };
        let mut text = format!("{device}/{service} is open for you {}.\n", until(&opened));
        if let Some(way) = way_to(self, &record, 8080) {
            let _ = write!(text, "\n  {way}\n");
        }
        let _ = write!(text, "\nTo end it before:\n\n  {} end {}\n", self.command(""), opened.id);
        let readied = Some(record.service.clone()).filter(|service| service.prepare.is_some());
        Ok(Done { text, readied })
    }

    fn list_sessions(&self, account: AccountId) -> String {
        let (snapshot, now) = (self.admission.control.snapshot(), Timestamp::now());
        let mut open: Vec<_> = snapshot.sessions_of(account).filter(|session| now < session.until).collect();
        open.sort_by_key(|session| session.until);
        if open.is_empty() {
            return format!(
                "You have no session open. To open one:\n\n  {} open DEVICE/SERVICE --for 30m\n",
                self.command("")
            );
        }
        let path = |session: &Opened| snapshot.service(session.service).map(|service| service.path());
        let line = |session: &Opened| {
            format!("{:>6}  {:<28} {}\n", session.id, path(session).unwrap_or_default(), until(session))
        };
        open.iter().map(|session| line(session)).collect()
    }

    async fn end_session(&self, account: AccountId, id: SessionId) -> Result<String, String> {
        let control = &self.admission.control;
        let is_theirs = control.snapshot().session(id).is_some_and(|session| session.account == account);
        if !is_theirs {
            return Err(format!("you have no session {id} open"));
        }
        control.end_session(id, None, Timestamp::now()).await.map_err(|error| error.to_string())?;
        Ok(format!("Session {id} is over, and what came by it is cut.\n"))
    }

    pub(super) fn opening(&self, service: &Service) -> String {
        format!("{} open {} --for 30m", self.command(""), service.path())
    }

    /// Unknown, forbidden and closed look the same. Whoever lacks a session alone is told how to open one: OpenSSH shows it.
    pub(super) fn refusal(&self, service: &Service, denied: &Denied) -> ChannelOpenFailure {
        match denied {
            Denied::SessionNeeded | Denied::SessionOver => {
                prohibited(&format!("open it first: {}", self.opening(service)))
            }
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::ShareOver
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::ReadOnly => prohibited(NOTHING_HERE),
            Denied::NeedsMore(_) | Denied::BudgetSpent { .. } | Denied::Full => prohibited(&denied.to_string()),
            // What they have open counts no more.
            Denied::ApprovalNeeded | Denied::InUse => prohibited(&format!("{denied}: {}", self.opening(service))),
        }
    }
}

/// What whoever is not meant must not learn.
fn is_told(error: &SessionError) -> bool {
    match error {
        SessionError::Refused(SessionRefusal::Denied(denied)) => match denied {
            Denied::SessionOver
            | Denied::SessionNeeded
            | Denied::AccountEnded
            | Denied::AccountDisabled
            | Denied::NeedsMore(_)
            | Denied::ApprovalNeeded
            | Denied::InUse
            | Denied::BudgetSpent { .. }
            | Denied::Full => true,
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::ShareOver
            | Denied::LoginOver
            | Denied::ReadOnly => false,
        },
        // Whoever hears that none is needed would come in without.
        SessionError::Refused(
            SessionRefusal::NoTime
            | SessionRefusal::NotNeeded
            | SessionRefusal::OthersWait
            | SessionRefusal::NoTakeOver,
        )
        | SessionError::InLine(_)
        | SessionError::AwaitsApproval(_)
        | SessionError::NoVoice(_)
        | SessionError::Invalid(_)
        | SessionError::Stale { .. }
        | SessionError::Store(_) => true,
        SessionError::Unknown(_) => false,
    }
}

/// The client's time zone is not known here.
fn until(session: &Opened) -> String {
    until_when(session.until)
}

pub(super) fn until_when(end: Timestamp) -> String {
    let left = end.duration_since(Timestamp::now()).as_secs().max(0);
    let left = if left < 120 { format!("{left} s") } else { format!("{} min", left / 60) };
    format!("until {} (another {left})", end.strftime("%F %H:%M:%S UTC"))
}
