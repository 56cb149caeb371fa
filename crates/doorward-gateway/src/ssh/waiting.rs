//! What waits, by SSH: a place in a line, and requests for somebody's consent. Who has a service is told by name to those alone
//! who may take it over, or run it; to others who may use it, until when.

use super::Room;
use super::opening::until_when;
use doorward_control::{ApprovalRequest, Opening, Turn};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::service::Service;
use doorward_core::span::write_span;
use doorward_core::{AccountId, ApprovalId};
use jiff::Timestamp;
use std::fmt::Write;
use std::net::IpAddr;

impl Room {
    pub(super) async fn line_text(&self, service: &Service, asker: AccountId, turn: &Turn) -> String {
        let (control, now) = (&self.admission.control, Timestamp::now());
        let snapshot = control.snapshot();
        let holder = control.line(service.id, now).await.ok().and_then(|line| line.holder);
        let is_told = snapshot.person(asker).is_some_and(|asker| is_told_who(service, asker, now));
        let name =
            holder.as_ref().and_then(|holder| snapshot.person(holder.account)).map(|person| person.name.as_str());
        let who = name.filter(|_| is_told).unwrap_or("somebody else");
        let path = service.path();
        let mut text = match turn.taken_until {
            Some(until) => format!("{who} has {path} {}. ", until_when(until)),
            None => format!("{path} is kept for whoever is next. "),
        };
        let _ = write!(
            text,
            "Your place in the line is {}.\n\nTo look again, and to open it when it is your turn:\n\n",
            turn.place
        );
        let _ =
            write!(text, "  {}\n\nTo wait no longer:\n\n  {} leave {path}", self.opening(service), self.command(""));
        let may_take = service.policy.exclusive.as_ref().zip(snapshot.person(asker));
        if may_take.is_some_and(|(exclusive, asker)| exclusive.may_take_over(asker, now)) {
            let _ = write!(text, "\n\nTo take it over:\n\n  {} --take-over", self.opening(service));
        }
        text
    }

    pub(super) fn asked_text(&self, request: &ApprovalRequest) -> String {
        let snapshot = self.admission.control.snapshot();
        let by =
            request.stands(&snapshot, Timestamp::now()).map(|approval| approval.by.to_string()).unwrap_or_default();
        let until = until_when(request.until);
        format!(
            "Somebody of {by} must approve it first. They were asked, as request {}, which waits {until}.\n\n\
             They say:\n\n  {} approve {}\n\nThen open it again.",
            request.id,
            self.command(""),
            request.id
        )
    }

    pub(super) async fn leave_line(&self, who: AccountId, device: &Label, name: &Label) -> Result<String, String> {
        let control = &self.admission.control;
        let snapshot = control.snapshot();
        let service = snapshot.device_by_name(device).and_then(|device| snapshot.service_of(device.id, name));
        let nothing = || format!("you do not wait for {device}/{name}");
        let service = service.ok_or_else(nothing)?;
        let now = Timestamp::now();
        let turn = control.turn(service.id, who, now).await.map_err(|error| error.to_string())?;
        turn.ok_or_else(nothing)?;
        control.leave_line(service.id, who, now).await.map_err(|error| error.to_string())?;
        Ok(format!("You wait for {device}/{name} no longer.\n"))
    }

    /// Their own, and what is theirs to answer.
    pub(super) async fn list_requests(&self, who: AccountId) -> Result<String, String> {
        let (control, now) = (&self.admission.control, Timestamp::now());
        let snapshot = control.snapshot();
        let requests = control.approval_requests(now).await.map_err(|error| error.to_string())?;
        let mut text = String::new();
        for request in &requests {
            let hears = |approver: &Person| {
                let approval = request.stands(&snapshot, now);
                approval.is_some_and(|approval| approval.hears(approver, request.account, now).is_ok())
            };
            let is_theirs_to_answer = snapshot.person(who).is_some_and(hears);
            if !is_theirs_to_answer && request.account != who {
                continue;
            }
            let path = snapshot.service(request.service).map(|service| service.path()).unwrap_or_default();
            let asker = snapshot.person(request.account).map(|person| person.name.to_string()).unwrap_or_default();
            let length = write_span(request.length);
            let next = if is_theirs_to_answer { "yours to answer" } else { "waits for an answer" };
            let _ = writeln!(text, "{:>6}  {path:<28} {asker:<16} for {length:<8} {next}", request.id);
        }
        if text.is_empty() {
            return Ok("No request is yours, or yours to answer.\n".to_owned());
        }
        let _ = write!(
            text,
            "\nTo answer one:\n\n  {} approve NUMBER\n  {} refuse NUMBER\n",
            self.command(""),
            self.command("")
        );
        Ok(text)
    }

    pub(super) async fn answer_request(
        &self,
        id: ApprovalId,
        approver: AccountId,
        is_yes: bool,
        source: IpAddr,
    ) -> Result<String, String> {
        let (control, now) = (&self.admission.control, Timestamp::now());
        let answered = control.answer_request(id, approver, is_yes, Some(source), now).await;
        let told = answered.map_err(|error| match error {
            // Others' requests are nothing that is told of.
            doorward_control::SessionError::NoVoice(_) | doorward_control::SessionError::Unknown(_) => {
                format!("there is no request {id} that is yours to answer")
            }
            error => error.to_string(),
        })?;
        Ok(match told {
            None => format!("Request {id} is refused.\n"),
            Some(Opening::Open(session)) => format!("It is open for them {}.\n", until_when(session.until)),
            Some(Opening::InLine(turn)) => format!("Somebody has it now; their place in the line is {}.\n", turn.place),
            Some(Opening::Asked(_)) => "Its policy asks others now.\n".to_owned(),
        })
    }
}

fn is_told_who(service: &Service, asker: &Person, now: Timestamp) -> bool {
    service.policy.exclusive.as_ref().is_some_and(|exclusive| exclusive.is_told_who(asker, service.account, now))
}
