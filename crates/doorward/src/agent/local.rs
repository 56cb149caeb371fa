//! One agent per state directory. A second `doorward http` finds the running one by its unix socket and lends it a
//! service for as long as the connection lasts: two processes with one key would look like two machines.
//!
//! One JSON object a line. To the agent: the service. From it: its [`Answer`]s, as the state changes.

use anyhow::{Context, bail};
use doorward_agent::{GatewayStatus, LinkState, PageFiles, Service, Settings, Status, TargetDocument};
use doorward_core::names::{Label, PathPrefix};
use doorward_core::service::Offer;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

const LOCK: &str = "agent.lock";
const SOCKET: &str = "agent.sock";
const MAX_LINE: u64 = 64 * 1024;
const LINE_LIMIT: Duration = Duration::from_secs(5);
const MAX_LENDERS: usize = 64;

/// The right to be the agent of a state directory, for as long as it is held.
pub struct Lock(#[expect(dead_code, reason = "the lock is the open file")] File);

/// Why the lock was not had.
pub fn lock(state: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(state).with_context(|| format!("{} cannot be made", state.display()))?;
    let path = state.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("another `doorward agent` runs with {}; stop that one, or name another directory", state.display())
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be locked", path.display())),
    }
}

/// The settings of the file together with what was lent.
#[derive(Clone)]
pub struct Extra {
    parts: Arc<Mutex<Parts>>,
    whole: watch::Sender<Arc<Settings>>,
}

struct Parts {
    file: Settings,
    lent: HashMap<u64, Service>,
    last: u64,
}

impl Extra {
    pub fn new(file: Settings, quick: Option<Service>) -> Self {
        let lent = quick.into_iter().map(|service| (0, service)).collect();
        let parts = Parts { file, lent, last: 0 };
        let whole = watch::Sender::new(super::share(parts.whole()));
        Self { parts: Arc::new(Mutex::new(parts)), whole }
    }

    pub fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.whole.subscribe()
    }

    /// The file says something new.
    pub fn replace(&self, file: Settings) {
        self.change(|parts| parts.file = file);
    }

    fn lend(&self, service: Service) -> anyhow::Result<Loan> {
        let name = &service.offer.name;
        self.change(|parts| {
            let others = parts.file.services.iter().chain(parts.lent.values());
            if others.into_iter().any(|other| other.offer.name == *name) {
                bail!("this agent already offers a service \"{name}\"; choose another --name");
            }
            let mut more = parts.whole();
            more.services.push(service.clone());
            more.check_size()?;
            parts.last += 1;
            parts.lent.insert(parts.last, service.clone());
            Ok(Loan { extra: self.clone(), number: parts.last })
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut parts);
        self.whole.send_replace(super::share(parts.whole()));
        result
    }
}

impl Parts {
    fn whole(&self) -> Settings {
        let mut whole = self.file.clone();
        let taken: Vec<Label> = whole.services.iter().map(|service| service.offer.name.clone()).collect();
        whole.services.extend(self.lent.values().filter(|lent| !taken.contains(&lent.offer.name)).cloned());
        whole
    }
}

/// A lent service, given back on drop.
struct Loan {
    extra: Extra,
    number: u64,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.extra.change(|parts| parts.lent.remove(&self.number));
    }
}

/// The first line of whoever comes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Request {
    Lend {
        offer: Box<Offer>,
        target: TargetDocument,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mounts: Vec<(PathPrefix, TargetDocument)>,
    },
    Ask {
        about: Question,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Question {
    Gateways,
}

/// How this device stands with a gateway, as the running agent tells `doorward doctor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Connecting,
    Online { device: String, carrier: String },
    Refused { message: String },
}

fn all_standings(status: &Status) -> BTreeMap<Label, Standing> {
    let standing = |gateway: &GatewayStatus| match &gateway.state {
        LinkState::Connecting { .. } => Standing::Connecting,
        LinkState::Online { carrier, .. } => {
            Standing::Online { device: gateway.device_name.to_string(), carrier: carrier.word().to_owned() }
        }
        LinkState::Refused { message } => Standing::Refused { message: message.clone() },
    };
    status.gateways.iter().map(|(name, gateway)| (name.clone(), standing(gateway))).collect()
}

/// What the running agent says about a lent service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The service cannot be taken at all.
    pub refused: Option<String>,
    /// What keeps it from being reached, if anything.
    pub waiting: Option<String>,
    pub reached_by: Vec<String>,
    pub problems: Vec<String>,
    pub notes: Vec<String>,
}

impl Answer {
    /// What the status says about one service, over all gateways.
    pub fn about(status: &Status, name: &Label) -> Self {
        let mut answer = Self::default();
        for (gateway, link) in &status.gateways {
            match &link.state {
                LinkState::Connecting { .. } => answer.waiting = Some(format!("connecting to gateway \"{gateway}\"")),
                LinkState::Refused { message } => answer.waiting = Some(format!("gateway \"{gateway}\": {message}")),
                LinkState::Online { .. } => {}
            }
            for service in link.services.iter().filter(|service| service.name == name.as_str()) {
                answer.reached_by.extend(service.reached_by.iter().cloned());
                answer.problems.extend(service.problems.iter().cloned());
                answer.notes.extend(service.notes.iter().cloned());
            }
        }
        answer
    }
}

/// Where the running agent of this state directory is found.
pub(crate) fn socket(state: &Path) -> PathBuf {
    state.join(SOCKET)
}

/// Serves the socket; whoever polls the future owns it.
pub fn serve(
    state: PathBuf,
    extra: Extra,
    status: watch::Receiver<Status>,
) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let path = state.join(SOCKET);
    // The lock says that no other agent uses this directory: what lies here is left over.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(async move {
        let mut lenders = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if lenders.len() < MAX_LENDERS => {
                        lenders.spawn(attend(stream, extra.clone(), status.clone()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        debug!(%error, "the agent's socket reported an error");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = lenders.join_next() => {}
            }
        }
    })
}

async fn attend(stream: UnixStream, extra: Extra, mut status: watch::Receiver<Status>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    let mut line = String::new();
    if !matches!(timeout(LINE_LIMIT, reader.read_line(&mut line)).await, Ok(Ok(1..))) {
        return;
    }
    let taken = match serde_json::from_str(&line) {
        Ok(Request::Ask { about: Question::Gateways }) => {
            let standings = all_standings(&status.borrow());
            let _ = write(&mut writer, &standings).await;
            return;
        }
        Ok(Request::Lend { offer, target, mounts }) => service(*offer, &target, &mounts).and_then(|service| {
            let name = service.offer.name.clone();
            Ok((extra.lend(service)?, name))
        }),
        Err(error) => Err(error.into()),
    };
    let (_loan, name) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            let _ = write(&mut writer, &Answer { refused: Some(error.to_string()), ..Answer::default() }).await;
            return;
        }
    };
    let mut last = None;
    let mut rest = Vec::new();
    loop {
        let answer = Answer::about(&status.borrow_and_update(), &name);
        if last.as_ref() != Some(&answer) && write(&mut writer, &answer).await.is_err() {
            return;
        }
        last = Some(answer);
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            // The other side says nothing more: an end or anything else ends the loan.
            _ = reader.read_to_end(&mut rest) => return,
        }
    }
}

fn service(offer: Offer, target: &TargetDocument, mounts: &[(PathPrefix, TargetDocument)]) -> anyhow::Result<Service> {
    let mounts = mounts.iter().map(|(path, target)| Ok((path.clone(), target.to_target()?)));
    let mounts = mounts.collect::<anyhow::Result<Vec<_>>>()?;
    let (page_files, plan, written_at) = (PageFiles::default(), None, None);
    Ok(Service { offer, target: target.to_target()?, mounts, page_files, plan, pinhole_to: None, written_at })
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), answer: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(answer)? + "\n";
    timeout(LINE_LIMIT, writer.write_all(line.as_bytes())).await??;
    Ok(())
}

/// Lends a service to the agent that runs here, if one does. What it says comes from the receiver, until it ends.
pub async fn lend(state: &Path, service: &Service) -> anyhow::Result<Option<Lent>> {
    let Ok(stream) = UnixStream::connect(state.join(SOCKET)).await else { return Ok(None) };
    let (reader, mut writer) = stream.into_split();
    let mounts = service.mounts.iter().map(|(path, target)| (path.clone(), target.into())).collect();
    let request = Request::Lend { offer: Box::new(service.offer.clone()), target: (&service.target).into(), mounts };
    let line = serde_json::to_string(&request)? + "\n";
    writer.write_all(line.as_bytes()).await?;
    Ok(Some(Lent { lines: BufReader::new(reader).lines(), _writer: writer }))
}

/// How the device stands with each gateway; `None` where no agent runs.
pub async fn standings(state: &Path) -> Option<BTreeMap<Label, Standing>> {
    let stream = UnixStream::connect(state.join(SOCKET)).await.ok()?;
    let (reader, mut writer) = stream.into_split();
    write(&mut writer, &Request::Ask { about: Question::Gateways }).await.ok()?;
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

/// A service that the running agent offers for us.
pub struct Lent {
    lines: tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>,
    _writer: tokio::net::unix::OwnedWriteHalf,
}

impl Lent {
    /// The next news; `None` when the agent went away.
    pub async fn next(&mut self) -> anyhow::Result<Option<Answer>> {
        match self.lines.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }
}
