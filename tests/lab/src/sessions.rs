//! People, their sessions, and the ports of these.

use crate::{LOOPBACK, Lab};
use doorward_control::{NewPerson, SessionRequest};
use doorward_core::access::{HowDocument, PolicyDocument};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::session::Session;
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// For these people, each for as long as they have it open.
pub fn on_request(names: &[&str]) -> PolicyDocument {
    let (how, max_duration) = (Some(HowDocument::OnRequest), Some("1h".to_owned()));
    PolicyDocument { how, max_duration, ..crate::people(names) }
}

impl Lab {
    /// A member of this name; made if there is none.
    pub async fn person(&self, name: &str) -> Arc<Person> {
        let name = Label::parse(name).unwrap();
        if let Some(known) = self.control().snapshot().person_by_name(&name) {
            return known.clone();
        }
        let new = NewPerson { name, title: None, role: Role::Member, ends_at: None };
        self.control().add_person(new, Timestamp::now()).await.unwrap()
    }

    /// Asked for from `source`. Its own port, if it has one, is open.
    pub async fn open_session(
        &self,
        person: &str,
        (device, service): (&str, &str),
        length: SignedDuration,
        source: IpAddr,
    ) -> Session {
        let request = SessionRequest {
            account: self.person(person).await.id,
            service: self.record(device, service).service.id,
            length,
            source: Some(source),
            id: None,
            proofs: Vec::new(),
        };
        let session = self.control().open_session(request, Timestamp::now()).await.unwrap();
        self.until_listening().await;
        session
    }

    /// Of the session's own.
    pub fn session_port(&self, session: &Session) -> SocketAddr {
        let snapshot = self.control().snapshot();
        let (_, port) = snapshot.approach(session.id).port.expect("the session has a port");
        SocketAddr::new(LOOPBACK, port)
    }
}
