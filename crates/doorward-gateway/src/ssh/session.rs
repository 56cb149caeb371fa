//! One SSH connection, as russh tells what happens on it. What may be asked and what it means is decided in `core::ssh`.

use super::connections::holder_of;
use super::inward::Asking;
use super::link::{MAX_CHANNELS, Opener, SshLink};
use super::offering::Asked;
use super::pipe::{ChannelPipe, Channels};
use super::queue::Queues;
use super::terminal::{Line, Terminal};
use super::wire::Shared;
use super::{Room, greeting};
use doorward_control::{Device, KeyFingerprint, LinkId, LinkReport, SshEnrolment, SshHolder, SshStanding};
use doorward_core::access::{Proof, Visitor};
use doorward_core::audit::Deed;
use doorward_core::invite::Invite;
use doorward_core::service::Entrance;
use doorward_core::ssh::{Destination, Identity, Meaning, PublicKey, Refusal, Request, meaning};
use doorward_core::{DeviceId, Secret};
use jiff::Timestamp;
use russh::keys::Algorithm;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, info};

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody that is known here, or not yet.
    Nothing,
    Somebody,
}

pub(super) struct SshSession {
    room: Arc<Room>,
    shared: Arc<Shared>,
    channels: Channels,
    peer: SocketAddr,
    number: u64,
    known: watch::Sender<Known>,
    /// By the key that was proved.
    who: Who,
    user: String,
    /// The first key that the client offered and nobody knows.
    offered: Option<PublicKey>,
    places: Arc<Semaphore>,
    leaving: Leaving,
    terminals: mpsc::Sender<Line>,
    news: Option<mpsc::Receiver<Line>>,
    /// What there was to say before there was a terminal.
    said: String,
    sessions: HashMap<ChannelId, SessionChannel>,
}

enum Who {
    Guest,
    Device(DeviceId),
    Person(doorward_core::names::Label),
}

struct SessionChannel {
    pipe: ChannelPipe,
    is_raw: bool,
}

/// What is to be done when the connection ends.
#[derive(Clone)]
pub(super) struct Leaving {
    room: Arc<Room>,
    number: u64,
    links: Arc<Mutex<Vec<Arc<SshLink>>>>,
}

/// Lines that wait for a terminal.
const NEWS: usize = 64;
/// Of what was said before there was a terminal.
const MOST_SAID: usize = 16 * 1024;
/// Session channels at once.
const MAX_SESSIONS: usize = 16;

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
        let leaving = Leaving { room: room.clone(), number, links: Arc::default() };
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
            places: Arc::new(Semaphore::new(MAX_CHANNELS)),
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
            Who::Person(name) => Identity::Person(name.clone()),
            Who::Device(_) => self.device().map_or(Identity::Guest, |device| Identity::Device(device.name.clone())),
        }
    }

    fn device(&self) -> Option<Arc<Device>> {
        match self.who {
            Who::Device(id) => self.room.admission.control.snapshot().device(id),
            Who::Guest | Who::Person(_) => None,
        }
    }

    fn visitor(&self) -> Visitor {
        let mut visitor = Visitor::new(self.peer.ip(), Entrance::Ssh);
        match &self.who {
            Who::Person(name) => visitor.proofs.push(Proof::Person(name.clone())),
            Who::Guest | Who::Device(_) => {}
        }
        visitor
    }

    fn meaning(&self, request: Request<'_>) -> Meaning {
        meaning(&self.identity(), &self.user, request)
    }

    fn opener(&self, session: &Session) -> Opener {
        Opener {
            number: self.number,
            source: self.peer.ip(),
            handle: session.handle(),
            channels: self.channels.clone(),
            shared: self.shared.clone(),
            room: self.places.clone(),
            terminals: self.terminals.clone(),
        }
    }

    /// In the terminal if there is one, and with `ssh -v` in any case.
    fn tell(&mut self, text: String, session: &mut Session) {
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

    async fn forward(&mut self, host: &str, port: &mut u32, session: &mut Session) -> bool {
        let wanted = match self.meaning(Request::Forward { host, port: *port }) {
            Meaning::Offer(wanted) => wanted,
            Meaning::Refuse(why) => {
                self.tell(format!("-R {host}:{port} is refused: {why}"), session);
                return false;
            }
            Meaning::Reach(_) | Meaning::Join(_) | Meaning::Show => return false,
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
                self.tell(format!("-R {host}:{port} is refused: {why}"), session);
                false
            }
        }
    }

    fn join(&self, invite: &Invite, session: &Session, id: ChannelId, terminal: Terminal) {
        let handle = session.handle();
        let Some(key) = self.offered.clone() else {
            let text = "Your client offered no key. Make one, then join again:\n\n  ssh-keygen -t ed25519\n";
            self.room.tasks.spawn(async move { terminal.end(text, 1, &handle, id).await });
            return;
        };
        let (room, user) = (self.room.clone(), self.user.clone());
        let enrolment = SshEnrolment {
            secret: Secret::new(*invite.secret.expose()),
            key,
            suggested_name: user,
            source: self.peer.ip(),
        };
        self.room.tasks.spawn(async move {
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

    /// Without a command: what there is, and what happens for as long as something is offered.
    fn show(&mut self, session: &Session, id: ChannelId, mut terminal: Terminal) {
        let handle = session.handle();
        let text = self.summary();
        let has_forwards = self.leaving.has_links();
        let Some(mut news) = self.news.take().filter(|_| has_forwards) else {
            let status = u32::from(matches!(self.who, Who::Guest));
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
                        Some(Line::Visit(service)) => stands = terminal.say(&greeting::visit(&service)).await,
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
            Who::Guest => greeting::guest(&self.room, self.offered.as_ref().map(KeyFingerprint::of)),
            Who::Device(_) if self.leaving.has_links() => greeting::offers(&self.said),
            Who::Device(_) | Who::Person(_) => {
                greeting::reach(&self.room, &self.identity(), &self.visitor(), &self.said)
            }
        }
    }

    fn terminal(&mut self, id: ChannelId) -> Option<Terminal> {
        self.sessions.remove(&id).map(|held| Terminal { pipe: held.pipe, is_raw: held.is_raw })
    }
}

impl Leaving {
    fn holds(&self, link: Arc<SshLink>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !links.iter().any(|held| held.number == link.number) {
            links.push(link);
        }
    }

    fn has_links(&self) -> bool {
        !self.links.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn report(&self) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (control, live) = (&self.room.admission.control, &self.room.admission.live);
        for link in links {
            let (snapshot, counts) = (control.snapshot(), live.counts());
            let streams = snapshot.services_of(link.device).filter_map(|record| counts.get(&record.service.id)).sum();
            let (bytes_in, bytes_out) =
                (link.traffic.up.load(Ordering::Relaxed), link.traffic.down.load(Ordering::Relaxed));
            let report = LinkReport { rtt: None, streams, bytes_in, bytes_out };
            control.presence().report(link.device, LinkId(link.number), report);
        }
    }

    pub(super) fn leave(&self) {
        let links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        for link in links {
            link.remove(self.number, |_| true);
            if self.room.reception.links.release_ssh(&link) {
                self.room.left(link.device, &link);
            }
        }
    }
}

impl Handler for SshSession {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        // SHA-1 proves nothing any more.
        if matches!(offer.algorithm, Algorithm::Rsa { hash: None }) {
            return Ok(Auth::reject());
        }
        let Some(key) = read(offer.public_key) else { return Ok(Auth::reject()) };
        match self.room.admission.control.snapshot().ssh_standing(&KeyFingerprint::of(&key)) {
            SshStanding::Device(_) | SshStanding::Person(_) => Ok(Auth::Accept),
            SshStanding::Unknown | SshStanding::Refused => {
                debug!(user, "an SSH key that nobody knows");
                self.offered.get_or_insert(key);
                Ok(Auth::reject())
            }
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let Some(key) = read(key.public_key) else { return Ok(Auth::reject()) };
        let fingerprint = KeyFingerprint::of(&key);
        let holder = || holder_of(&self.room.admission.control.snapshot(), &fingerprint);
        let Some(before) = holder() else { return Ok(Auth::reject()) };
        if !self.room.connections.came_in_by(self.number, fingerprint, before.clone()) {
            debug!("as many SSH connections by one key as there may be");
            return Ok(Auth::reject());
        }
        if holder().as_ref() != Some(&before) {
            return Ok(Auth::reject());
        }
        self.who = match before {
            SshHolder::Device(id) => Who::Device(id),
            SshHolder::Person(name) => Who::Person(name),
        };
        user.clone_into(&mut self.user);
        self.known.send_replace(Known::Somebody);
        Ok(Auth::Accept)
    }

    /// Asks nothing, and lets a guest in: docs/decisions/0040-ssh.md.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        _: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        user.clone_into(&mut self.user);
        let (source, now) = (Some(self.peer.ip()), Timestamp::now());
        self.room.admission.control.refused(Deed::DeviceRefused, source, None, "ssh-key-unknown", now);
        Ok(Auth::Accept)
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, session: &mut Session) -> Result<bool, russh::Error> {
        Ok(self.forward(host, port, session).await)
    }

    async fn cancel_tcpip_forward(
        &mut self,
        host: &str,
        port: u32,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let Some(device) = self.device() else { return Ok(false) };
        let opener = self.opener(session);
        Ok(self.room.withdraw(&device, &opener, host, port).await)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let destination: Destination = match self.meaning(Request::Direct { host, port }) {
            Meaning::Reach(destination) => destination,
            Meaning::Refuse(why) => {
                let _ = session.debug(true, &why.to_string(), "en");
                reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
                return Ok(());
            }
            Meaning::Offer(_) | Meaning::Join(_) | Meaning::Show => return Ok(()),
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let (visitor, channels) = (self.visitor(), self.channels.clone());
        let asking = Asking { destination, visitor, channel, reply, channels, place };
        self.room.tasks.spawn(self.room.clone().visit(asking));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.sessions.len() >= MAX_SESSIONS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let id = channel.id();
        let pipe = self.channels.take(channel, Some(place));
        self.sessions.insert(id, SessionChannel { pipe, is_raw: false });
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(held) = self.sessions.get_mut(&id) {
            held.is_raw = true;
        }
        session.channel_success(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        let Some(terminal) = self.terminal(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        self.show(session, id, terminal);
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(terminal) = self.terminal(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        match self.meaning(Request::Execute(&String::from_utf8_lossy(command))) {
            Meaning::Join(invite) => self.join(&invite, session, id, terminal),
            Meaning::Refuse(Refusal::Unknown) => self.show(session, id, terminal),
            Meaning::Refuse(why) => {
                let handle = session.handle();
                self.room.tasks.spawn(async move { terminal.end(&format!("{why}\n"), 1, &handle, id).await });
            }
            Meaning::Offer(_) | Meaning::Reach(_) | Meaning::Show => self.show(session, id, terminal),
        }
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn window_change_request(
        &mut self,
        _: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.queues.open(id);
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.put(id, data);
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.finish(id);
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.close(id);
        self.sessions.remove(&id);
        Ok(())
    }

    fn adjust_window(&mut self, id: ChannelId, _: u32) -> u32 {
        self.shared.refilled(id)
    }
}

fn read(key: &russh::keys::PublicKey) -> Option<PublicKey> {
    PublicKey::from_blob(&key.to_bytes().ok()?).ok()
}
