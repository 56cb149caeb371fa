//! The state of a site: accounts, devices, services, policies, invites, audit. It rests in a store and is published as
//! one immutable [`Snapshot`], by which everything is decided.
//!
//! Every change goes through a method of [`Control`]: one writer, one transaction, then the new snapshot, then its
//! [`Change`]. If the store fails, changes are refused with the reason and the last snapshot keeps deciding.

mod access;
pub mod accounts;
mod additions;
mod alerts;
mod answers;
mod audit;
mod authority;
mod certificates;
mod changes;
mod devices;
mod enrol;
mod errands;
mod foresight;
mod groups;
mod handover;
mod home;
mod housekeeping;
mod identities;
mod inspections;
mod invites;
mod knocks;
mod logins;
pub mod passwords;
mod people;
mod presence;
mod services;
mod sessions;
mod settings;
mod shares;
mod sign_in;
mod site;
mod snapshot;
mod spending;
mod ssh;
mod store;
mod welcomes;
mod work;

#[cfg(test)]
mod tests;

pub use access::Reservation;
pub use additions::{Finding, Refusal, Scan, ScanState, Told, Wanted};
pub use alerts::{Alert, AlertDestination, Tested, USUAL_GRACE};
pub use answers::{Answering, GivenAnswer, request_digest};
pub use audit::{
    Actor, Anchor, Attendance, AuditChoice, AuditSettings, Broken, ChainedLine, LineHash, Soundness, Verifier,
};
pub use authority::OwnAuthority;
pub use certificates::{
    AuthorityReport, Certificate, CertificateReport, CertificateState, PendingOrder, Reports, SetReport, Shelf,
};
pub use changes::{Change, Changes, News};
pub use devices::DeviceEdit;
pub use enrol::{EnrolError, Enrolment};
pub use errands::{Asked, Errand, ErrandError, Errands};
pub use foresight::{Foreseen, Question, Toll};
pub use groups::{Group, GroupEdit};
pub use handover::{Bearer, Challenge, Handover};
pub use home::{HomeReport, MappingReport, MappingState, NameReport};
pub use identities::{Identity, IdentityError};
pub use inspections::{
    Ending, Exchange, Inspection, InspectionWish, Inspections, KeptBody, MOST_BODY, ReplayError, ReplayWish,
    Replayable, Seen, Taken,
};
pub use invites::{InviteRequest, InviteSummary};
pub use knocks::{HeldKey, KnockError, KnockKeyRequest, KnockKeySummary, Knocked, KnockedAt, NewKnockKey};
pub use logins::{
    ClientCertificateRequest, LoginRequest, LoginSummary, NewCertificate, NewLogin, TokenRequest, TokenSummary,
    client_issuer,
};
pub use people::data::PersonData;
pub use people::{NewPerson, PersonEdit};
pub use presence::{
    Arrival, CameraPlace, CameraSeen, DevicePresence, LinkId, LinkReport, LinkState, PinholeStanding, PortState,
    Preparation, Presence, Reachability, ServiceFailure, StraightWay, Visits,
};
pub use services::{Reach, RegisterError, Registration};
pub use sessions::{
    ApprovalRequest, FirstComer, Line, NoPort, Opening, SessionError, SessionPlace, SessionRange, SessionReach,
    SessionRequest, SessionSummary, SessionsOf, Straight, Turn,
};
pub use settings::{ControlSettings, KnockSettings, SiteSettings, WebFace};
pub use shares::{MadeShare, OpenShare, ShareError, SharePress, ShareStanding, ShareSummary, UseError, Viewer};
pub use sign_in::{
    CredentialError, NameAndPassword, NewTotp, PasskeyQuestion, PasskeySummary, Proven, RecoveryCodes, SecondFactors,
    Step, TotpStanding,
};
pub use site::{Activation, SiteKey, SiteKeys};
pub use snapshot::{
    AccessHome, Approach, Audience, Counts, Device, HostEntrance, HostReservation, KeyStanding, Origin,
    PortReservation, Protocol, ServiceRecord, Snapshot,
};
pub use spending::SpendingReport;
pub use ssh::certificates::{CertificateWish, LONGEST, SshCertificate};
pub use ssh::passwords::{NewPassword, PasswordDigest, PasswordNumber, SshPassword};
pub use ssh::{HostKey, KeyFingerprint, NewHolder, SshEnrolment, SshHolder, SshKey, SshStanding};
pub use store::seal::SEAL_FILE;
pub use store::{BackupError, OpenError, StoreError};
pub use welcomes::import::{ImportError, LineError, Newcomer, Usual, read_list};
pub use welcomes::{
    Accepted, Answer as WelcomeAnswer, InvitationRequest, MadeWelcome, Welcome, WelcomeError, WelcomeKind,
};

use arc_swap::ArcSwap;
use certificates::Certificates;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::seal::Seal;
use store::{ChangeError, Store};
use thiserror::Error;
use tokio::sync::{broadcast, watch};
use tokio_util::task::TaskTracker;

/// The handle on the state; cheap to clone. It may act on somebody's behalf ([`Control::acting_as`]).
#[derive(Clone)]
pub struct Control(Arc<Shared>, Option<Arc<Actor>>);

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) store: Store,
    pub(crate) seal: Seal,
    pub(crate) certificates: Certificates,
    pub(crate) own_authority: authority::InUse,
    pub(crate) published: ArcSwap<Snapshot>,
    pub(crate) changes: broadcast::Sender<Arc<Change>>,
    pub(crate) presence: Presence,
    pub(crate) additions: additions::Desk,
    pub(crate) errands: Arc<errands::Desk>,
    pub(crate) alerts: alerts::Alerts,
    pub(crate) home: watch::Sender<home::HomeReport>,
    pub(crate) audit: audit::Audit,
    pub(crate) uses: sessions::Uses,
    pub(crate) first_comers: sessions::FirstComers,
    pub(crate) spending: spending::Spending,
    pub(crate) inspections: Inspections,
    pub(crate) doorstep: knocks::Doorstep,
    pub(crate) answers: answers::UnderWay,
    pub(crate) seen: logins::Seen,
    pub(crate) viewers: shares::Viewers,
    pub(crate) codes: handover::Codes,
    pub(crate) sign_in: sign_in::SignIn,
    pub(crate) trouble: work::Trouble,
    /// The changes under way. They end by themselves; [`Control::close`] waits for them.
    pub(crate) tasks: TaskTracker,
}

/// Why an edit was refused.
#[derive(Debug, Error)]
pub enum EditError {
    #[error("there is no {0}")]
    Unknown(String),
    /// Somebody else changed it meanwhile: read it again.
    #[error("it was changed meanwhile; look at it again before changing it (its version is {current})")]
    Stale { current: i64 },
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    Invalid(String),
    /// Something must happen first.
    #[error("{0}")]
    TooEarly(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for EditError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Unknown(_) | Self::Stale { .. } | Self::Taken(_) | Self::Invalid(_) | Self::TooEarly(_) => None,
        }
    }
}

impl Control {
    /// Opens the store in the directory, or makes a new one where there is none, and loads all of it.
    pub async fn open(settings: ControlSettings) -> Result<Self, OpenError> {
        let ControlSettings { directory, site, now } = settings;
        let store = Store::open(&directory, &SiteKey::generate(), now).await?;
        let unreadable = |error: StoreError| OpenError::of(&directory.join("doorward.db"), error);
        let seal = store.take_seal(&directory).await?;
        let (presence, uses, seen) = (Presence::default(), sessions::Uses::default(), logins::Seen::default());
        let spending = spending::Spending::default();
        let (first, certificates, told) = {
            let mut connection = store.readers().acquire().await.map_err(|e| unreadable(e.into()))?;
            presence.remember(devices::last_seen(&mut connection).await.map_err(unreadable)?);
            uses.remember(sessions::uses(&mut connection).await.map_err(unreadable)?);
            seen.remember(logins::seen(&mut connection).await.map_err(unreadable)?);
            spending.remember(&spending::load(&mut connection).await.map_err(unreadable)?);
            let certificates = Certificates::load(&mut connection, &seal).await.map_err(unreadable)?;
            let told = alerts::told_offline(&mut connection).await.map_err(unreadable)?;
            let mut first = store::load::everything(site, &mut connection).await.map_err(unreadable)?;
            first.put_knock_keys(knocks::load(&mut connection, &seal).await.map_err(unreadable)?);
            (first, certificates, told)
        };
        let shared = Arc::new(Shared {
            directory: directory.clone(),
            store,
            seal,
            certificates,
            own_authority: authority::InUse::default(),
            published: ArcSwap::from_pointee(first),
            changes: Changes::channel(),
            presence,
            additions: additions::Desk::default(),
            errands: Arc::default(),
            alerts: alerts::Alerts::default(),
            home: watch::Sender::default(),
            audit: audit::Audit::default(),
            uses,
            first_comers: sessions::FirstComers::default(),
            spending,
            inspections: Inspections::default(),
            doorstep: knocks::Doorstep::default(),
            answers: answers::UnderWay::default(),
            seen,
            viewers: shares::Viewers::default(),
            codes: handover::Codes::default(),
            sign_in: sign_in::SignIn::default(),
            trouble: work::Trouble::default(),
            tasks: TaskTracker::new(),
        });
        let control = Self(shared, None);
        control.remember_absences(told);
        let keys = control.knock_keys(None).await.map_err(unreadable)?;
        control.0.doorstep.remember(&keys);
        control.write(|work| Box::pin(audit::chain_old_lines(work))).await.map_err(unreadable)?;
        control.settle(None, now).await.map_err(unreadable)?;
        Ok(control)
    }

    /// What decides now. Lock-free; take it once per decision.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.published.load_full()
    }

    /// From now on. Subscribe first, then read the snapshot: nothing falls between.
    pub fn changes(&self) -> Changes {
        Changes::subscribe(&self.0.changes)
    }

    /// What gateways report; in memory only, never part of a decision.
    pub fn presence(&self) -> &Presence {
        &self.0.presence
    }

    pub fn site(&self) -> Arc<SiteSettings> {
        self.snapshot().site().clone()
    }

    pub fn site_keys(&self) -> Arc<SiteKeys> {
        self.snapshot().site_keys().clone()
    }

    /// Where visitors reach the service now.
    pub fn reach(&self, record: &ServiceRecord) -> Vec<Reach> {
        services::reach(self.snapshot().site(), record)
    }

    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// A consistent copy of the store while everything runs, readable by its owner alone. It holds the site key.
    /// `path` must not exist yet.
    pub async fn backup_into(&self, path: &Path) -> Result<(), BackupError> {
        self.0.store.backup_into(path, &self.0.seal).await
    }

    /// Waits for the changes under way and closes the store. Further changes are refused; the snapshot stays.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.store.close().await;
    }
}
