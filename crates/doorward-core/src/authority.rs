//! Who may do what through the API: a table of roles, of how an object stands to whoever asks, and of actions. What a
//! service's policy says of visitors is not its business; an API token may do less than its person, never more.

mod action;
mod scope;

pub use action::Action;
pub use scope::{Scope, TokenLimits, is_for_tokens};

use crate::person::Role;

/// How the object of an action stands to whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is theirs, or it is they themselves.
    Own,
    /// It is another's, but belongs to a device or service that is theirs.
    OnOwnDevice,
    /// It is another's, but its policy lets them in, or would if they opened a session.
    Usable,
    Others,
}

impl Relation {
    pub const ALL: [Self; 4] = [Self::Own, Self::OnOwnDevice, Self::Usable, Self::Others];
}

/// How much of what an action is about somebody gets at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Everything,
    /// Of lists: they see less. Of single objects: the others are unknown to them.
    Some,
    Nothing,
}

/// Whom an action is for beside owners, who may do everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// It concerns the gateway as a whole, or all people.
    Nobody,
    /// It tells nothing that visitors could not find out.
    Everybody,
    /// What is theirs, whoever they are.
    EverybodyForTheirOwn,
    /// What is theirs or on their devices.
    MembersForTheirOwn,
    /// Members what is theirs or on their devices, guests what is theirs.
    EverybodyForTheirPart,
    /// As before, and whatever they could enter.
    EverybodyForWhatTheyUse,
}

pub fn may(role: Role, relation: Relation, action: Action) -> bool {
    let (own, own_device, usable) = match (role, whom(action)) {
        (Role::Owner, _) | (Role::Member | Role::Guest, Whom::Everybody) => return true,
        (Role::Member | Role::Guest, Whom::Nobody) | (Role::Guest, Whom::MembersForTheirOwn) => return false,
        (Role::Member | Role::Guest, Whom::EverybodyForTheirOwn) => (true, false, false),
        (Role::Member, Whom::MembersForTheirOwn | Whom::EverybodyForTheirPart) => (true, true, false),
        (Role::Guest, Whom::EverybodyForTheirPart) => (true, false, false),
        (Role::Member, Whom::EverybodyForWhatTheyUse) => (true, true, true),
        (Role::Guest, Whom::EverybodyForWhatTheyUse) => (false, false, true),
    };
    match relation {
        Relation::Own => own,
        Relation::OnOwnDevice => own_device,
        Relation::Usable => usable,
        Relation::Others => false,
    }
}

pub fn reach(role: Role, action: Action) -> Reach {
    match Relation::ALL.iter().filter(|relation| may(role, **relation, action)).count() {
        0 => Reach::Nothing,
        all if all == Relation::ALL.len() => Reach::Everything,
        _ => Reach::Some,
    }
}

fn whom(action: Action) -> Whom {
    match action {
        Action::ShowStatus
        | Action::AddPerson
        | Action::EditPerson
        | Action::RemovePerson
        | Action::LinkPerson
        | Action::ImportPeople
        | Action::MakeOwnerLink
        | Action::ListInvitations
        | Action::InvitePeople
        | Action::RevokeInvitation
        | Action::AddGroup
        | Action::EditGroup
        | Action::RemoveGroup
        | Action::ListAudit
        | Action::CopyAudit
        | Action::VerifyAudit
        | Action::ListAlerts
        | Action::TestAlerts
        | Action::PrepareSuccessor
        | Action::ActivateSuccessor
        | Action::RenewAuthority
        | Action::Backup => Whom::Nobody,
        Action::DescribeApi
        | Action::AnswerByLink
        | Action::ShowAuthority
        | Action::ShowSshAuthority
        | Action::ShowSshHostKeys
        | Action::ListBuilds => Whom::Everybody,
        Action::ListPeople
        | Action::ExportPerson
        | Action::ListGroups
        | Action::ListTokens
        | Action::MakeToken
        | Action::RevokeToken
        | Action::ListKnockKeys
        | Action::MakeKnockKey
        | Action::RemoveKnockKey
        | Action::ListClientCertificates
        | Action::MakeClientCertificate
        | Action::RevokeClientCertificate => Whom::EverybodyForTheirOwn,
        Action::ListDevices
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
        | Action::ReleaseHost
        | Action::ReleasePort
        | Action::ReleaseService
        | Action::ListSshKeys
        | Action::AddSshKeys
        | Action::RemoveSshKey
        | Action::MakeSshPassword
        | Action::ListSshCertificates
        | Action::CertifySshKey
        | Action::RevokeSshCertificate
        | Action::ListAdditions
        | Action::AddService
        | Action::RemoveAddition
        | Action::ShowScan
        | Action::ScanDevice
        | Action::ShowInspection
        | Action::Inspect
        | Action::StopInspecting
        | Action::ReplayRequest => Whom::MembersForTheirOwn,
        Action::ListSessions
        | Action::OpenSession
        | Action::ExtendSession
        | Action::NoteSource
        | Action::EndSession
        | Action::ListRequests
        | Action::ApproveRequest
        | Action::RefuseRequest
        | Action::LinkRequest
        | Action::LeaveLine => Whom::EverybodyForTheirPart,
        Action::ListServices | Action::ShowService | Action::ShowLine | Action::WatchEvents => {
            Whom::EverybodyForWhatTheyUse
        }
    }
}
