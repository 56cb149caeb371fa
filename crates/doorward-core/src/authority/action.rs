//! What can be asked of the API.

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $word:literal $needs:ident,)*) => {
        /// Every handler of the API names one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The least that a token must be for.
            pub fn needs(self) -> super::Scope {
                match self {
                    $(Self::$name => super::Scope::$needs,)*
                }
            }
        }
    };
}

actions! {
    DescribeApi "describe-api" Read,
    ShowStatus "show-status" Read,
    ListDevices "list-devices" Read,
    EditDevice "edit-device" Manage,
    RevokeDevice "revoke-device" Manage,
    ReplaceDevice "replace-device" Manage,
    ShowDeviceLog "show-device-log" Read,
    RestartDevice "restart-device" Manage,
    ListInvites "list-invites" Read,
    CreateInvite "create-invite" Manage,
    RevokeInvite "revoke-invite" Manage,
    ListServices "list-services" Read,
    ShowService "show-service" Read,
    SetAccess "set-access" Manage,
    GiveAccessBack "give-access-back" Manage,
    PreviewAccess "preview-access" Read,
    PreviewPeople "preview-people" Read,
    ListPeople "list-people" Read,
    AddPerson "add-person" Manage,
    EditPerson "edit-person" Manage,
    RemovePerson "remove-person" Manage,
    /// All that is known of somebody.
    ExportPerson "export-person" Manage,
    /// Not by a token: whoever has the link becomes that person.
    LinkPerson "link-person" Manage,
    ImportPeople "import-people" Manage,
    /// Not by a token, for the same reason.
    MakeOwnerLink "make-owner-link" Manage,
    ListInvitations "list-invitations" Read,
    InvitePeople "invite-people" Manage,
    RevokeInvitation "revoke-invitation" Manage,
    ListGroups "list-groups" Read,
    AddGroup "add-group" Manage,
    EditGroup "edit-group" Manage,
    RemoveGroup "remove-group" Manage,
    ListSessions "list-sessions" Read,
    OpenSession "open-session" Sessions,
    ExtendSession "extend-session" Sessions,
    /// From where its person comes, too.
    NoteSource "note-source" Sessions,
    EndSession "end-session" Sessions,
    ListRequests "list-requests" Read,
    ApproveRequest "approve-request" Manage,
    RefuseRequest "refuse-request" Manage,
    LinkRequest "link-request" Manage,
    AnswerByLink "answer-by-link" Manage,
    ShowLine "show-line" Read,
    LeaveLine "leave-line" Sessions,
    ListShares "list-shares" Read,
    MakeShare "make-share" Manage,
    RevokeShare "revoke-share" Manage,
    ReleaseHost "release-host" Manage,
    ReleasePort "release-port" Manage,
    ReleaseService "release-service" Manage,
    ListAudit "list-audit" Read,
    CopyAudit "copy-audit" Read,
    VerifyAudit "verify-audit" Read,
    ListAlerts "list-alerts" Read,
    TestAlerts "test-alerts" Manage,
    PrepareSuccessor "prepare-successor" Manage,
    ActivateSuccessor "activate-successor" Manage,
    ListSshKeys "list-ssh-keys" Read,
    AddSshKeys "add-ssh-keys" Manage,
    RemoveSshKey "remove-ssh-key" Manage,
    MakeSshPassword "make-ssh-password" Manage,
    ShowSshHostKeys "show-ssh-host-keys" Read,
    ListSshCertificates "list-ssh-certificates" Read,
    CertifySshKey "certify-ssh-key" Manage,
    RevokeSshCertificate "revoke-ssh-certificate" Manage,
    ShowSshAuthority "show-ssh-authority" Read,
    ShowAuthority "show-authority" Read,
    RenewAuthority "renew-authority" Manage,
    Backup "backup" Manage,
    ListTokens "list-tokens" Read,
    /// Not by a token: none makes its like.
    MakeToken "make-token" Manage,
    RevokeToken "revoke-token" Manage,
    ListKnockKeys "list-knock-keys" Read,
    /// Not by a token: it would outlive what it was made by.
    MakeKnockKey "make-knock-key" Manage,
    RemoveKnockKey "remove-knock-key" Manage,
    ListClientCertificates "list-client-certificates" Read,
    /// Not by a token: it would outlive what it was made by.
    MakeClientCertificate "make-client-certificate" Manage,
    RevokeClientCertificate "revoke-client-certificate" Manage,
    WatchEvents "watch-events" Read,
    ListBuilds "list-builds" Read,
    ListAdditions "list-additions" Read,
    AddService "add-service" Manage,
    RemoveAddition "remove-addition" Manage,
    ShowScan "show-scan" Read,
    ScanDevice "scan-device" Manage,
    /// Of a service and its visitors that is more than any other list tells.
    ShowInspection "show-inspection" Manage,
    Inspect "inspect" Manage,
    StopInspecting "stop-inspecting" Manage,
    ReplayRequest "replay-request" Manage,
}
