//! What russh tells of a connection, in its words.

use super::connections::holder_of;
use super::inward::Asking;
use super::session::{Known, SessionChannel, SshSession, Who};
use doorward_control::{KeyFingerprint, SshHolder, SshStanding};
use doorward_core::audit::Deed;
use doorward_core::ssh::{Destination, Meaning, PublicKey, Refusal, Request};
use jiff::Timestamp;
use russh::keys::Algorithm;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tracing::debug;

/// Session channels at once.
const MAX_SESSIONS: usize = 16;

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
            SshHolder::Person(id) => Who::Person(id),
        };
        user.clone_into(&mut self.user);
        self.known.send_replace(Known::Somebody);
        Ok(Auth::Accept)
    }

    /// Asks nothing, and lets a guest in: docs/decisions/0041-ssh.md.
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
            Meaning::Offer(_) | Meaning::Join(_) | Meaning::Show | Meaning::Session(_) => return Ok(()),
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
            Meaning::Session(wish) => self.heed(wish, session, id, terminal),
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
