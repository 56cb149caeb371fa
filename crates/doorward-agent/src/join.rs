//! Enrolling this device with a gateway. The key is on disk before the gateway hears of it, so an answer that got
//! lost is asked for again with the same key. Nothing here looks at the clock.

use crate::proxy::ProxyRule;
use crate::state::{KnownSite, StateDir, StateError};
use crate::tempo::jitter;
use doorward_core::invite::{Invite, InviteError};
use doorward_core::names::{Label, NameError};
use doorward_core::site::{Address, Fingerprint};
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::messages::{Join, Leaving, Refusal, Site, Welcome};
use doorward_tunnel::{AgentStanding, Destination, Dialer, HandshakeError, Introduction, MemoryDialer};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// What this device calls the gateway.
    pub gateway: Label,
    /// What the device would like to be called; its host name unless said.
    pub suggested_name: Option<String>,
    pub state: StateDir,
    /// Name and version of this program, for the gateway's lists.
    pub software: String,
    pub proxy: Option<ProxyRule>,
    /// `None`: for ever.
    pub limit: Option<Duration>,
    /// Whether a gateway that was joined under this name already may be forgotten.
    pub replace: bool,
    /// The gateway runs in this very process.
    pub memory: Option<MemoryDialer>,
}

/// How long `doorward join` tries.
pub const JOIN_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub gateway: Label,
    /// What the gateway calls this device.
    pub device_name: Label,
}

#[derive(Debug, Error)]
pub enum JoinError {
    #[error(
        "this device has joined a gateway as \"{gateway}\" already; add --replace to forget that one, or choose \
         another name with --gateway"
    )]
    AlreadyJoined { gateway: Label },
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{} is no invite: {source}", .file.display())]
    Invite { file: PathBuf, source: InviteError },
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("the gateway refuses: {message}")]
    Refused { reason: Refusal, message: String, retry_after: Duration },
    #[error("no gateway could be reached within {} s. Tried:\n{}", .after.as_secs(), list(.tried))]
    Unreachable { after: Duration, tried: Vec<String> },
    #[error("the gateway named this device in a way that this version does not understand: {0}")]
    Name(#[from] NameError),
    #[error("the invite cannot be used: {0}")]
    Dialer(io::Error),
}

/// What rustls says of a site key that is not the pinned one.
const NOT_PINNED: &str = "UnknownIssuer";

fn list(tried: &[String]) -> String {
    let mut lines: Vec<_> = tried.iter().map(|error| format!("  {error}")).collect();
    if tried.iter().any(|error| error.contains(NOT_PINNED)) {
        let advice = "What answers there is not the gateway that made this invite, or it has lost its site key: ask its \
                      owner for a new invite.";
        lines.push(advice.to_owned());
    }
    lines.join("\n")
}

impl JoinOptions {
    pub fn new(gateway: Label, state: StateDir, software: impl Into<String>) -> Self {
        let software = software.into();
        let limit = Some(JOIN_LIMIT);
        Self { gateway, suggested_name: None, state, software, proxy: None, limit, replace: false, memory: None }
    }
}

pub async fn join(invite: &Invite, options: JoinOptions) -> Result<Joined, JoinError> {
    let JoinOptions { gateway, state, .. } = &options;
    if !options.replace && state.membership(gateway)?.is_some() {
        return Err(JoinError::AlreadyJoined { gateway: gateway.clone() });
    }
    state.check_writable(gateway)?;
    let key = state.joining_key(gateway)?;
    let welcome = enrol(invite, &options, &key).await?;
    let device_name = Label::parse(&welcome.device_name)?;
    let site = known_site(invite, &welcome, &device_name);
    state.joined(gateway, &site)?;
    Ok(Joined { gateway: gateway.clone(), device_name })
}

/// For golden images: joins with the invite in a file, if nothing was joined yet and there is one. Tries for ever; the
/// network may come up much later. `None`: there was nothing to do.
pub async fn join_if_invited(options: JoinOptions, invite_file: &Path) -> Result<Option<Joined>, JoinError> {
    if !options.state.gateways()?.is_empty() {
        return Ok(None);
    }
    let text = match std::fs::read_to_string(invite_file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| JoinError::Unreadable { file: invite_file.to_owned(), source })?,
    };
    let invite = Invite::parse(&text).map_err(|source| JoinError::Invite { file: invite_file.to_owned(), source })?;
    info!(file = %invite_file.display(), "joining by invite");
    let mut told = String::new();
    loop {
        match join(&invite, JoinOptions { limit: None, ..options.clone() }).await {
            Err(JoinError::Refused { message, retry_after, .. }) => {
                if told != message {
                    warn!("the gateway refuses the invite in {}: {message}", invite_file.display());
                    told = message;
                }
                sleep(jitter(retry_after.max(REFUSED_PAUSE))).await;
            }
            joined => {
                let joined = joined?;
                info!(file = %invite_file.display(), "joined; the invite is not needed any more");
                return Ok(Some(joined));
            }
        }
    }
}

/// An invite that was refused may be renewed by its owner.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// After an attempt that broke in the middle.
const PAUSE: Duration = Duration::from_secs(1);

async fn enrol(invite: &Invite, options: &JoinOptions, key: &DeviceKey) -> Result<Welcome, JoinError> {
    let destination = Destination {
        addresses: invite.addresses.clone(),
        keys: vec![invite.site],
        proxy: options.proxy.as_ref().and_then(|rule| rule.for_addresses(&invite.addresses)),
        metered: false,
    };
    let dialer = match &options.memory {
        Some(memory) => Dialer::memory(memory.clone()),
        None => Dialer::new(&destination).map_err(JoinError::Dialer)?,
    };
    let mut broken = None;
    let trying = ask_until_answered(&dialer, invite, options, key, &mut broken);
    let Some(limit) = options.limit else { return trying.await };
    match timeout(limit, trying).await {
        Ok(answer) => answer,
        Err(_) => {
            let mut tried = dialer.last_errors();
            tried.extend(broken.map(|error| format!("after connecting: {error}")));
            Err(JoinError::Unreachable { after: limit, tried })
        }
    }
}

async fn ask_until_answered(
    dialer: &Dialer,
    invite: &Invite,
    options: &JoinOptions,
    key: &DeviceKey,
    broken: &mut Option<String>,
) -> Result<Welcome, JoinError> {
    let suggested_name = options.suggested_name.clone().unwrap_or_else(host_name);
    let join = Join { secret: invite.secret.expose().to_vec(), suggested_name };
    let software = options.software.clone();
    let instance = rand::random();
    let mut epoch = 0;
    loop {
        epoch += 1;
        let who =
            Introduction { instance, epoch, join: Some(join.clone()), software: software.clone(), metered: false };
        match dialer.establish(None).await.introduce(key, &who).await {
            Ok(standing) => return Ok(leave(standing).await),
            Err(HandshakeError::Refused(refused)) if refused.reason() != Refusal::Busy => {
                let retry_after = Duration::from_secs(refused.retry_after_seconds.into());
                return Err(JoinError::Refused { reason: refused.reason(), message: refused.message, retry_after });
            }
            Err(error) => {
                debug!(%error, "the attempt to join broke");
                *broken = Some(error.to_string());
                sleep(jitter(PAUSE)).await;
            }
        }
    }
}

/// The link has served its purpose; the agent makes its own.
async fn leave(standing: AgentStanding) -> Welcome {
    let AgentStanding { link, welcome, driver, .. } = standing;
    tokio::select! {
        _ = driver => {}
        () = link.close(Leaving::Stopping) => {}
    }
    welcome
}

fn known_site(invite: &Invite, welcome: &Welcome, device_name: &Label) -> KnownSite {
    let told = welcome.site.as_ref().and_then(read_site);
    let (addresses, keys, revision) = told.unwrap_or_else(|| (invite.addresses.clone(), vec![invite.site], 0));
    KnownSite { addresses, keys, revision, device_name: device_name.clone(), carrier: None }
}

/// What a gateway says of its site. `None` if nothing could be dialled or trusted by it: such a word is not heard.
pub(crate) fn read_site(site: &Site) -> Option<(Vec<Address>, Vec<Fingerprint>, u64)> {
    let addresses: Vec<_> = site.addresses.iter().filter_map(|a| Address::parse(a).ok()).take(MAX_ADDRESSES).collect();
    let keys = site.keys.iter().filter_map(|key| key.as_slice().try_into().ok().map(Fingerprint));
    let keys: Vec<_> = keys.take(MAX_KEYS).collect();
    (!addresses.is_empty() && !keys.is_empty()).then_some((addresses, keys, site.revision))
}

const MAX_ADDRESSES: usize = 32;
const MAX_KEYS: usize = 16;

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
