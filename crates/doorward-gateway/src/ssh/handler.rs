//! What russh tells of a connection, in its words.

use super::inward::{Asking, prohibited};
use super::passwords;
use super::session::{SessionChannel, SshSession};
use doorward_core::audit::Deed;
use doorward_core::ssh::{Destination, Meaning, PublicKey, Refusal, Request};
use jiff::Timestamp;
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};

/// Session channels at once.
const MAX_SESSIONS: usize = 16;

impl Handler for SshSession {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.offers(user, offer))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.proves_key(user, key))
    }

    async fn auth_openssh_certificate(&mut self, user: &str, shown: &Certificate) -> Result<Auth, russh::Error> {
        Ok(self.shows_certificate(user, shown))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.prove_password(user, password))
    }

    /// Asks for a password, and lets in as a guest whoever has none: docs/decisions/0042-netgear.md.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut response) = response else { return Ok(passwords::question()) };
        let password = response.next().unwrap_or_default();
        if !password.is_empty() {
            return Ok(self.prove_password(user, &String::from_utf8_lossy(&password)));
        }
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
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let destination: Destination = match self.meaning(Request::Direct { host, port }) {
            Meaning::Reach(destination) => destination,
            Meaning::Refuse(why) => {
                reply.reject(prohibited(&why.to_string())).await;
                return Ok(());
            }
            Meaning::Offer(_)
            | Meaning::Join(_)
            | Meaning::AskForInvite
            | Meaning::Show
            | Meaning::Hold(_)
            | Meaning::Session(_) => {
                return Ok(());
            }
        };
        let Some(place) = self.places.take() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let (visitor, channels, sender) = (self.visitor(), self.channels.clone(), self.parked());
        let asking = Asking { destination, visitor, sender, channel, reply, channels, place };
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
        let Some(place) = self.places.take() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let id = channel.id();
        let pipe = self.channels.take_session(channel, place);
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
        match self.meaning(Request::Shell) {
            Meaning::Refuse(why) => self.say_no(&why, session, id, terminal),
            Meaning::Show
            | Meaning::Offer(_)
            | Meaning::Reach(_)
            | Meaning::Join(_)
            | Meaning::AskForInvite
            | Meaning::Hold(_)
            | Meaning::Session(_) => self.show(session, id, terminal),
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(terminal) = self.terminal(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        match self.meaning(Request::Execute(&String::from_utf8_lossy(command))) {
            Meaning::Join(invite) => self.join(Some(*invite), session, id, terminal),
            Meaning::AskForInvite => self.join(None, session, id, terminal),
            Meaning::Session(wish) => self.heed(wish, session, id, terminal),
            Meaning::Refuse(Refusal::Unknown) => self.show(session, id, terminal),
            Meaning::Refuse(why) => self.say_no(&why, session, id, terminal),
            Meaning::Hold(time) => {
                let handle = session.handle();
                self.room.tasks.spawn(async move { terminal.hold(time, &handle, id).await });
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

    /// Nobody here hears it, but it lies in a queue.
    async fn extended_data(&mut self, id: ChannelId, _: u32, _: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.put(id, &[]);
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

pub(super) fn read(key: &russh::keys::PublicKey) -> Option<PublicKey> {
    PublicKey::from_blob(&key.to_bytes().ok()?).ok()
}
