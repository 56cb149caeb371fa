//! One SSH connection: who it is, and what comes of what is asked. What may be asked is decided in `core::ssh`.

use super::leaving::Leaving;
use super::link::Opener;
use super::offering::Asked;
use super::parking::MOST_OF_ONE;
use super::pipe::{ChannelPipe, Channels};
use super::places::Places;
use super::queue::Queues;
use super::terminal::{Line, Terminal};
use super::wire::Shared;
use super::{Room, greeting};
use doorward_control::{Device, KeyFingerprint, SshEnrolment};
use doorward_core::access::{Facts, Proof, Visitor};
use doorward_core::invite::Invite;
use doorward_core::service::Entrance;
use doorward_core::ssh::{Identity, Meaning, PublicKey, Refusal, Request, meaning};
use doorward_core::{AccountId, DeviceId, Secret};
use jiff::Timestamp;
use russh::ChannelId;
use russh::server::Session;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody that is known here, or not yet.
    Nothing,
    /// `until`: as long as a certificate says.
    Somebody { until: Option<Timestamp> },
}

pub(super) struct SshSession {
    pub(super) room: Arc<Room>,
    pub(super) shared: Arc<Shared>,
    pub(super) channels: Channels,
    pub(super) peer: SocketAddr,
    pub(super) number: u64,
    pub(super) known: watch::Sender<Known>,
    /// By the key or certificate that was proved.
    pub(super) who: Who,
    pub(super) user: String,
    /// The first key that the client offered and nobody knows.
    pub(super) offered: Option<PublicKey>,
    /// Why a credential that is known, or was, did not let in.
    pub(super) refusal: Option<String>,
    pub(super) places: Places,
    pub(super) parking: Arc<Semaphore>,
    pub(super) leaving: Leaving,
    pub(super) terminals: mpsc::Sender<Line>,
    pub(super) news: Option<mpsc::Receiver<Line>>,
    /// What there was to say before there was a terminal.
    pub(super) said: String,
    pub(super) sessions: HashMap<ChannelId, SessionChannel>,
}

pub(super) enum Who {
    Guest,
    Device(DeviceId),
    Person(AccountId),
    Sender { device: DeviceId, port: u16 },
}

/// What opens of a sender's need to wait for its device.
pub(super) struct Parked {
    pub(super) places: Arc<Semaphore>,
    pub(super) is_gone: CancellationToken,
}

pub(super) struct SessionChannel {
    pub(super) pipe: ChannelPipe,
    pub(super) is_raw: bool,
}

/// Lines that wait for a terminal.
const NEWS: usize = 64;
/// Of what was said before there was a terminal.
const MOST_SAID: usize = 16 * 1024;

impl SshSession {
    pub(super) fn new(
        room: Arc<Room>,
        shared: Arc<Shared>,
        peer: SocketAddr,
        number: u64,
        known: watch::Sender<Known>,
    ) -> Self {
        let queues = Queues::new(shared.clone());
        let channels = Channels { queues, tasks: room.tasks.clone(), closed_here: Arc::default() };
        let (terminals, news) = mpsc::channel(NEWS);
        let leaving = Leaving { room: room.clone(), number, links: Arc::default(), is_gone: CancellationToken::new() };
        Self {
            room,
            shared,
            channels,
            peer,
            number,
            known,
            who: Who::Guest,
            user: String::new(),
            offered: None,
            refusal: None,
            places: Places::new(),
            parking: Arc::new(Semaphore::new(MOST_OF_ONE)),
            leaving,
            terminals,
            news: Some(news),
            said: String::new(),
            sessions: HashMap::new(),
        }
    }

    pub(super) fn queues(&self) -> Arc<Queues> {
        self.channels.queues.clone()
    }

    pub(super) fn leaving(&self) -> Leaving {
        self.leaving.clone()
    }

    fn identity(&self) -> Identity {
        match &self.who {
            Who::Guest => Identity::Guest,
            Who::Sender { .. } => self.sender().unwrap_or(Identity::Guest),
            Who::Person(id) => {
                let snapshot = self.room.admission.control.snapshot();
                snapshot.person(*id).map_or(Identity::Guest, |person| Identity::Person(person.name.clone()))
            }
            Who::Device(_) => self.device().map_or(Identity::Guest, |device| Identity::Device(device.name.clone())),
        }
    }

    pub(super) fn device(&self) -> Option<Arc<Device>> {
        match self.who {
            Who::Device(id) => self.room.admission.control.snapshot().device(id),
            Who::Guest | Who::Person(_) | Who::Sender { .. } => None,
        }
    }

    pub(super) fn visitor(&self) -> Visitor {
        let mut visitor = Visitor::new(self.peer.ip(), Entrance::Ssh);
        match &self.who {
            Who::Person(id) => visitor.proofs.push(Proof::Person(*id)),
            // What a sender proves depends on what it wants to get to.
            Who::Guest | Who::Device(_) | Who::Sender { .. } => {}
        }
        visitor
    }

    pub(super) fn meaning(&self, request: Request<'_>) -> Meaning {
        meaning(&self.identity(), &self.user, request)
    }

    /// For a sender's opens.
    pub(super) fn parked(&self) -> Option<Parked> {
        match self.who {
            Who::Sender { .. } => Some(Parked { places: self.parking.clone(), is_gone: self.leaving.is_gone.clone() }),
            Who::Guest | Who::Device(_) | Who::Person(_) => None,
        }
    }

    pub(super) fn opener(&self, session: &Session) -> Opener {
        Opener {
            number: self.number,
            source: self.peer.ip(),
            handle: session.handle(),
            channels: self.channels.clone(),
            shared: self.shared.clone(),
            places: self.places.clone(),
            terminals: self.terminals.clone(),
        }
    }

    /// In the terminal if there is one, and with `ssh -v` in any case.
    pub(super) fn tell(&mut self, text: String, session: &mut Session) {
        let _ = session.debug(true, &text, "en");
        if self.news.is_some() {
            if self.said.len() < MOST_SAID {
                self.said += &text;
                self.said.push('\n');
            }
        } else {
            let _ = self.terminals.try_send(Line::Text(text));
        }
    }

    pub(super) async fn forward(&mut self, host: &str, port: &mut u32, session: &mut Session) -> bool {
        let wanted = match self.meaning(Request::Forward { host, port: *port }) {
            Meaning::Offer(wanted) => wanted,
            Meaning::Refuse(why) => {
                self.refuse_forward(host, *port, &why.to_string(), session).await;
                return false;
            }
            Meaning::Reach(_)
            | Meaning::Join(_)
            | Meaning::AskForInvite
            | Meaning::Show
            | Meaning::Hold(_)
            | Meaning::Session(_) => return false,
        };
        let Some(device) = self.device() else { return false };
        let asked = Asked { wanted, host: host.to_owned(), port: *port };
        let opener = self.opener(session);
        match self.room.offer(&device, asked, &opener).await {
            Ok(offered) => {
                if let Some(link) = self.room.reception.links.ssh_link(device.id) {
                    self.leaving.holds(link);
                }
                if *port == 0 {
                    *port = offered.port;
                }
                self.tell(offered.words, session);
                true
            }
            Err(why) => {
                info!(device = %device.name, why, "a forward by SSH was refused");
                self.refuse_forward(host, *port, &why, session).await;
                false
            }
        }
    }

    /// `None`: the invite is asked for.
    pub(super) fn join(&self, invite: Option<Invite>, session: &Session, id: ChannelId, mut terminal: Terminal) {
        let handle = session.handle();
        let Some(key) = self.offered.clone() else {
            let text = "Your client offered no key. Make one, then join again:\n\n  ssh-keygen -t ed25519\n";
            self.room.tasks.spawn(async move { terminal.end(text, 1, &handle, id).await });
            return;
        };
        let (room, suggested_name, source) = (self.room.clone(), self.user.clone(), self.peer.ip());
        self.room.tasks.spawn(async move {
            let read = match invite {
                Some(invite) => Ok(invite),
                None => Invite::parse(terminal.ask(greeting::PASTE).await.expose()),
            };
            let invite = match read {
                Ok(invite) => invite,
                Err(why) => return terminal.end(&format!("{why}\n"), 1, &handle, id).await,
            };
            let secret = Secret::new(*invite.secret.expose());
            let enrolment = SshEnrolment { secret, key, suggested_name, source };
            let fingerprint = KeyFingerprint::of(&enrolment.key);
            let joined = room.admission.control.enrol_ssh(enrolment, Timestamp::now()).await;
            match joined {
                Ok(device) => {
                    info!(device = %device.name, "a device joined by SSH");
                    terminal.end(&greeting::joined(&room, &device, fingerprint), 0, &handle, id).await;
                }
                Err(error) => {
                    debug!(%error, "nobody joined by SSH");
                    terminal.end(&format!("{error}\n"), 1, &handle, id).await;
                }
            }
        });
    }

    pub(super) fn say_no(&self, why: &Refusal, session: &Session, id: ChannelId, terminal: Terminal) {
        let (handle, text) = (session.handle(), format!("{why}\n"));
        self.room.tasks.spawn(async move { terminal.end(&text, 1, &handle, id).await });
    }

    /// Without a command: what there is, and what happens for as long as something is offered.
    pub(super) fn show(&mut self, session: &Session, id: ChannelId, mut terminal: Terminal) {
        let handle = session.handle();
        let is_guest = matches!(self.who, Who::Guest);
        // Of a -L nothing is heard before it is used: whoever sits there may have one.
        let stays = self.leaving.has_links() || (terminal.is_raw && !is_guest);
        let text = self.summary() + if stays { greeting::STAYS } else { "" };
        let Some(mut news) = self.news.take().filter(|_| stays) else {
            let status = u32::from(is_guest);
            self.room.tasks.spawn(async move { terminal.end(&text, status, &handle, id).await });
            return;
        };
        let shared = self.shared.clone();
        self.room.tasks.spawn(async move {
            let mut stands = terminal.say(&text).await;
            while stands {
                tokio::select! {
                    line = news.recv() => match line {
                        Some(Line::Text(text)) => stands = terminal.say(&format!("{text}\n")).await,
                        Some(Line::Visit(service, source)) => {
                            stands = terminal.say(&greeting::visit(&service, source)).await;
                        }
                        None => break,
                    },
                    () = terminal.until_left() => {
                        terminal.end("\n", 0, &handle, id).await;
                        return shared.break_off_soon().await;
                    }
                }
            }
        });
    }

    fn summary(&self) -> String {
        match &self.who {
            Who::Guest => greeting::guest(&self.room, self.offered.as_ref(), self.refusal.as_deref()),
            Who::Device(_) if self.leaving.has_links() => self.said.clone(),
            Who::Device(_) | Who::Person(_) | Who::Sender { .. } => {
                greeting::reach(&self.room, &self.identity(), self.until(), &self.visitor(), &self.said)
            }
        }
    }

    /// When its certificate ends, if it came by one.
    fn until(&self) -> Option<Timestamp> {
        match *self.known.borrow() {
            Known::Nothing => None,
            Known::Somebody { until } => until,
        }
    }

    pub(super) fn terminal(&mut self, id: ChannelId) -> Option<Terminal> {
        self.sessions.remove(&id).map(|held| Terminal { pipe: held.pipe, is_raw: held.is_raw })
    }
}
