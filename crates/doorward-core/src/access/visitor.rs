//! Whoever arrives, and what they proved.

use super::network::canonical;
use super::password::PasswordHash;
use crate::names::PathPrefix;
use crate::service::Entrance;
use crate::share::ShareUse;
use crate::{AccountId, LoginId, ServiceId, SessionId};
use std::net::IpAddr;

/// Whoever arrives, and what is known of them. Facts only; the entrance collects them, nobody else.
#[derive(Clone, Debug)]
pub struct Visitor {
    source: IpAddr,
    pub entrance: Entrance,
    /// What was proved by checking it, e.g. a password against its hash.
    pub proofs: Vec<Proof>,
}

impl Visitor {
    /// `source` is the socket's peer (or what a configured proxy vouched for), in one spelling from here on.
    pub fn new(source: IpAddr, entrance: Entrance) -> Self {
        Self { source: canonical(source), entrance, proofs: Vec::new() }
    }

    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Who they are, as far as that was proved by something of their own. Whose a login is, is a fact.
    pub fn people(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.proofs.iter().filter_map(|proof| proof.names().person)
    }

    pub fn logins(&self) -> impl Iterator<Item = LoginId> + '_ {
        self.proofs.iter().filter_map(|proof| proof.names().login)
    }

    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.proofs.iter().filter_map(Proof::session)
    }

    /// To the ports of which sessions they come.
    pub fn ports(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.proofs.iter().filter_map(|proof| proof.names().port)
    }

    pub fn shares(&self) -> impl Iterator<Item = ShareUse> + '_ {
        self.proofs.iter().filter_map(Proof::share)
    }
}

/// Something a visitor proved. It names the very credential, so that changing that one ends what it opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Password(PasswordHash),
    /// A credential that is this person's own, as an SSH key.
    Person(AccountId),
    /// That they are signed in by this. Whose it is, and whether it counts still, is for the decision.
    Login(LoginId),
    /// That this session is meant. Whether it is theirs, for this service, and open still is for the decision.
    Session(SessionId),
    /// Nothing about themselves: they come to the port of this session. Whether from one of its sources, for this service, and
    /// while it is open is for the decision.
    Port(SessionId),
    /// A sender key for this service: for the virtual port that it has.
    Sender(ServiceId),
    /// That they used this share. Whether it is for this service, and counts still, is for the decision.
    Share(ShareUse),
    /// Nothing about themselves: they go to a path at which the application asks, by this entry of the policy.
    OpenPath(PathPrefix),
}

/// What a proof names, each by its kind.
#[derive(Default)]
struct Names {
    person: Option<AccountId>,
    login: Option<LoginId>,
    session: Option<SessionId>,
    port: Option<SessionId>,
    share: Option<ShareUse>,
}

impl Proof {
    /// Of the session that is meant, or whose port is.
    pub(super) fn session(&self) -> Option<SessionId> {
        let Names { session, port, .. } = self.names();
        session.or(port)
    }

    pub(crate) fn share(&self) -> Option<ShareUse> {
        self.names().share
    }

    /// The one place that takes proofs apart: another kind has to be sorted in here.
    fn names(&self) -> Names {
        let nothing = Names::default();
        match self {
            Self::Person(id) => Names { person: Some(*id), ..nothing },
            Self::Login(id) => Names { login: Some(*id), ..nothing },
            Self::Session(id) => Names { session: Some(*id), ..nothing },
            Self::Port(id) => Names { port: Some(*id), ..nothing },
            Self::Share(used) => Names { share: Some(*used), ..nothing },
            Self::Password(_) | Self::Sender(_) | Self::OpenPath(_) => nothing,
        }
    }
}
