//! What an API token is for.

use super::Action;
use crate::ServiceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of the API each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Coming in at the services that it names, as its person; of the API nothing.
    Visit,
    /// Looking at what its person sees.
    Read,
    /// Opening, extending and ending sessions, and coming in, too.
    Sessions,
    /// Whatever its person may do, except making tokens, and links by which somebody becomes another person.
    Manage,
}

impl Scope {
    pub fn word(self) -> &'static str {
        match self {
            Self::Visit => "visit",
            Self::Read => "read",
            Self::Sessions => "sessions",
            Self::Manage => "manage",
        }
    }

    /// Whether services let its holder in as its person. Whoever may only look may not.
    fn lets_in(self) -> bool {
        match self {
            Self::Visit | Self::Sessions | Self::Manage => true,
            Self::Read => false,
        }
    }

    pub fn read(word: &str) -> Option<Self> {
        [Self::Visit, Self::Read, Self::Sessions, Self::Manage].into_iter().find(|scope| scope.word() == word)
    }
}

/// A token makes neither its like nor what makes whoever has it somebody else: such a thing would outlive it.
pub fn is_for_tokens(action: Action) -> bool {
    !matches!(
        action,
        Action::MakeToken
            | Action::MakeClientCertificate
            | Action::MakeKnockKey
            | Action::LinkPerson
            | Action::MakeOwnerLink
    )
}

/// How much less than its person a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    pub scope: Scope,
    /// `None`: all that its person gets at. An empty list: none.
    pub services: Option<Vec<ServiceId>>,
}

impl TokenLimits {
    /// A token for certain services does nothing but look at them and open them.
    pub fn allow(&self, action: Action) -> bool {
        let is_about_services = match action {
            Action::DescribeApi
            | Action::ListServices
            | Action::ShowService
            | Action::ListSessions
            | Action::OpenSession
            | Action::ExtendSession
            | Action::NoteSource
            | Action::EndSession
            | Action::ListRequests
            | Action::ShowLine
            | Action::LeaveLine
            | Action::WatchEvents => true,
            Action::ShowStatus
            | Action::ListDevices
            | Action::EditDevice
            | Action::RevokeDevice
            | Action::ReplaceDevice
            | Action::ShowDeviceLog
            | Action::RestartDevice
            | Action::ListInvites
            | Action::CreateInvite
            | Action::RevokeInvite
            | Action::SetAccess
            | Action::GiveAccessBack
            | Action::PreviewAccess
            | Action::PreviewPeople
            | Action::ListShares
            | Action::MakeShare
            | Action::RevokeShare
            | Action::ListPeople
            | Action::AddPerson
            | Action::EditPerson
            | Action::RemovePerson
            | Action::ExportPerson
            | Action::LinkPerson
            | Action::ImportPeople
            | Action::MakeOwnerLink
            | Action::ListInvitations
            | Action::InvitePeople
            | Action::RevokeInvitation
            | Action::ListGroups
            | Action::AddGroup
            | Action::EditGroup
            | Action::RemoveGroup
            | Action::ApproveRequest
            | Action::RefuseRequest
            | Action::LinkRequest
            | Action::AnswerByLink
            | Action::ReleaseHost
            | Action::ReleasePort
            | Action::ReleaseService
            | Action::ListAudit
            | Action::CopyAudit
            | Action::VerifyAudit
            | Action::ListAlerts
            | Action::TestAlerts
            | Action::PrepareSuccessor
            | Action::ActivateSuccessor
            | Action::ListSshKeys
            | Action::AddSshKeys
            | Action::RemoveSshKey
            | Action::MakeSshPassword
            | Action::ShowSshHostKeys
            | Action::ListSshCertificates
            | Action::CertifySshKey
            | Action::RevokeSshCertificate
            | Action::ShowSshAuthority
            | Action::ShowAuthority
            | Action::RenewAuthority
            | Action::Backup
            | Action::ListTokens
            | Action::MakeToken
            | Action::RevokeToken
            | Action::ListBuilds
            | Action::ListAdditions
            | Action::AddService
            | Action::RemoveAddition
            | Action::ShowScan
            | Action::ScanDevice
            | Action::ShowInspection
            | Action::Inspect
            | Action::StopInspecting
            | Action::ReplayRequest
            | Action::ListKnockKeys
            | Action::MakeKnockKey
            | Action::RemoveKnockKey
            | Action::ListClientCertificates
            | Action::MakeClientCertificate
            | Action::RevokeClientCertificate => false,
        };
        is_for_tokens(action) && action.needs() <= self.scope && (self.services.is_none() || is_about_services)
    }

    /// Whether it shows this service who comes. What its policy says of them is for the decision.
    pub fn let_in(&self, service: ServiceId) -> bool {
        self.scope.lets_in() && self.cover(service)
    }

    pub fn cover(&self, service: ServiceId) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(&service))
    }
}
