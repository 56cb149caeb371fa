//! Hears what is wanted, sees what is there, and makes it so. Whatever was restarted meanwhile, the same is done.

use crate::error::RouterError;
use crate::firewall::{self, Firewall, Sight};
use crate::privileges::{NET_ADMIN, User, give_up, given};
use crate::settings::Settings;
use crate::socket::{Limited, is_allowed, listen};
use crate::{conntrack, ports};
use doorward_core::pinhole::{
    Answer, Facts, Granted, MessageError, Number, Pinhole, PinholeId, Plan, Present, Refusal, State, Step, Told,
    Wishes, give_ports, plan,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::geteuid;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    pub socket: PathBuf,
}

/// Somebody may flush all rules, or start a firewall anew, at any time.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };

/// Ready to hear the agent, with no right left that it does not need.
#[derive(Debug)]
pub struct Prepared {
    listener: UnixListener,
    socket: PathBuf,
    daemon: Daemon,
}

/// Must run while the process has one thread: rights belong to threads.
pub fn prepare(options: Options) -> Result<Prepared, RouterError> {
    let settings = Settings::read(&options.config)?;
    let listener = listen(&options.socket)?;
    let user = geteuid().is_root().then(|| User::find(&settings.user)).transpose()?;
    given(NET_ADMIN)?;
    let firewall = firewall::choose(&settings)?;
    firewall::clear_others(&settings, &*firewall);
    let rights = firewall.rights();
    let daemon = Daemon::new(settings, firewall);
    give_up(user, rights)?;
    Ok(Prepared { listener, socket: options.socket, daemon })
}

impl Prepared {
    /// Runs until it is killed. What stands in the kernel then goes on and ends by itself.
    pub fn run(mut self, ready: impl FnOnce()) -> Result<(), RouterError> {
        self.daemon.take_over()?;
        info!(firewall = self.daemon.firewall.words(), "sessions are kept by a firewall that works here");
        info!(socket = %self.socket.display(), "listening for the agent");
        ready();
        let agent = self.daemon.settings.agent.clone();
        loop {
            match next(&self.listener)? {
                Some(stream) if is_allowed(&stream, &agent) => self.daemon.hear(&stream),
                Some(_) => warn!("somebody who is not the agent spoke on the socket and was not heard"),
                None => self.daemon.look_again(),
            }
        }
    }
}

/// Takes away all rules of ours, whichever firewall has them, and forgets the connections that they let in.
pub fn remove(config: &Path) -> Result<(), RouterError> {
    let settings = Settings::read(config).unwrap_or_else(|_| Settings::empty());
    for mut firewall in firewall::all(&settings) {
        firewall.remove()?;
    }
    conntrack::forget_all(settings.marks)
}

fn next(listener: &UnixListener) -> Result<Option<UnixStream>, RouterError> {
    let mut waiting = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut waiting, Some(&LOOK_AGAIN)) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(RouterError::Wait(error.into())),
    }
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
        Err(error) => Err(RouterError::Wait(error)),
    }
}

#[derive(Debug)]
struct Daemon {
    settings: Settings,
    firewall: Box<dyn Firewall>,
    wishes: Vec<Pinhole>,
    heard: Instant,
    /// When sessions end, more exactly than listings tell.
    ends: BTreeMap<PinholeId, Instant>,
    last: Option<Number>,
    last_port: Option<u16>,
}

/// Further from the end that we know a session's end in the kernel is another one: the clock was set, or somebody else
/// wrote it.
const LISTED_LATE: Duration = Duration::from_secs(3);

/// Sessions that connections remember, and whether they were answered.
type Connected = BTreeMap<Number, bool>;

impl Daemon {
    fn new(settings: Settings, firewall: Box<dyn Firewall>) -> Self {
        let (wishes, ends, heard) = (Vec::new(), BTreeMap::new(), Instant::now());
        Self { settings, firewall, wishes, heard, ends, last: None, last_port: None }
    }

    /// What an earlier daemon left stays as it is, as far as the file still allows it.
    fn take_over(&mut self) -> Result<(), RouterError> {
        let Sight { sessions: found, lacks_ipv6, .. } = self.firewall.look()?;
        if lacks_ipv6 {
            warn!("no ip6tables works here, so there are no pinholes in IPv6");
        }
        let wish = |there: Present| Pinhole {
            id: there.id,
            // The listing's own number, without the second that it may have left out.
            remaining: there.ends_within.saturating_sub(Duration::from_secs(1)),
            way: there.way,
        };
        let wishes = found.into_iter().map(wish).collect();
        match self.want(wishes) {
            // Without rules of ours nothing is open, and the agent is told why when it asks.
            Err(error @ RouterError::Offload(_)) => warn!(%error, "no pinholes here"),
            outcome => drop(outcome?),
        }
        Ok(())
    }

    fn hear(&mut self, stream: &UnixStream) {
        let mut limited = Limited::new(stream);
        let wishes = match Wishes::read(&mut limited) {
            Ok(wishes) => wishes,
            Err(error) => return warn!(%error, "a message was refused"),
        };
        let answer = self.want(wishes.pinholes).unwrap_or_else(|error| {
            error!(error = %chain(&error), "nothing was opened");
            Answer { pinholes: Vec::new(), fault: Some(chain(&error)) }
        });
        match answer.write(&mut Limited::new(stream)) {
            Ok(()) => {}
            Err(error @ (MessageError::Io(_) | MessageError::TooLong(_))) => debug!(%error, "no answer was heard"),
            Err(error @ (MessageError::Unreadable(_) | MessageError::TwiceNamed(_))) => warn!(%error, "no answer"),
        }
    }

    fn look_again(&mut self) {
        let passed = self.heard.elapsed();
        let wishes = self
            .wishes
            .iter()
            .map(|pinhole| Pinhole { remaining: pinhole.remaining.saturating_sub(passed), ..pinhole.clone() });
        let wishes = wishes.filter(|pinhole| !pinhole.remaining.is_zero()).collect();
        if let Err(error) = self.want(wishes) {
            error!(error = %chain(&error), "the rules could not be looked after");
        }
    }

    fn want(&mut self, wishes: Vec<Pinhole>) -> Result<Answer, RouterError> {
        self.heard = Instant::now();
        self.wishes = wishes;
        let (sight, connected) = (self.see()?, conntrack::sessions(self.settings.marks)?);
        if let Some(what) = sight.offload {
            self.firewall.remove()?;
            // Nothing would end them any more.
            conntrack::forget_all(self.settings.marks)?;
            return Err(RouterError::Offload(what));
        }
        let mut taken = ports::listened_on();
        taken.extend(sight.translated);
        let (facts, allow) = (Facts { taken, lacks_ipv6: sight.lacks_ipv6 }, &self.settings.allow);
        self.last_port = give_ports(&mut self.wishes, &sight.sessions, allow, &facts, self.last_port);
        let judged = allow.judge(&self.wishes, &facts);
        let granted: Vec<Granted> = judged.iter().filter_map(|judged| judged.as_ref().ok()).cloned().collect();
        let plan = self.plan(granted, sight.sessions, &connected);
        self.carry_out(&plan)?;
        Ok(self.answer(&judged, &plan, &connected))
    }

    fn see(&mut self) -> Result<Sight, RouterError> {
        let mut sight = self.firewall.look()?;
        for present in &mut sight.sessions {
            let end = self.ends.get(&present.id).map(|end| end.saturating_duration_since(Instant::now()));
            present.ends_within =
                end.filter(|end| end.abs_diff(present.ends_within) < LISTED_LATE).unwrap_or(present.ends_within);
        }
        Ok(sight)
    }

    fn plan(&mut self, granted: Vec<Granted>, present: Vec<Present>, connected: &Connected) -> Plan {
        let haunted: BTreeSet<Number> = connected.keys().copied().collect();
        let plan = plan(granted, present, self.settings.marks, self.firewall.most(), &haunted, self.last);
        let newest = plan.openings.iter().rfind(|opening| opening.step == Step::Open);
        self.last = newest.map(|opening| opening.number).or(self.last);
        plan
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), RouterError> {
        let written = self.firewall.carry_out(plan, self.heard)?;
        let pinholes: BTreeMap<&PinholeId, &Pinhole> =
            plan.openings.iter().map(|opening| (&opening.granted.pinhole().id, opening.granted.pinhole())).collect();
        for pinhole in written.iter().filter_map(|id| pinholes.get(id)) {
            self.ends.insert(pinhole.id.clone(), self.heard + pinhole.remaining);
        }
        self.ends.retain(|id, _| pinholes.contains_key(id));
        Ok(())
    }

    fn answer(&self, judged: &[Result<Granted, Refusal>], plan: &Plan, connected: &Connected) -> Answer {
        let blocked = self.firewall.blocked();
        let numbers: BTreeMap<&PinholeId, Number> =
            plan.openings.iter().map(|opening| (&opening.granted.pinhole().id, opening.number)).collect();
        let state = |pinhole: &Pinhole, judged: &Result<Granted, Refusal>| match judged {
            Err(refusal) => State::Refused(refusal.clone()),
            Ok(_) => match numbers.get(&pinhole.id) {
                None => State::Refused(Refusal::TooMany),
                Some(number) if connected.get(number).copied().unwrap_or_default() => State::Passed,
                Some(_) => blocked.by(pinhole).map_or(State::Ready, State::Blocked),
            },
        };
        let told = self.wishes.iter().zip(judged);
        let told = told.map(|(pinhole, judged)| {
            let state = state(pinhole, judged);
            let translated = pinhole.way.translated.as_ref().filter(|_| !matches!(state, State::Refused(_)));
            Told { id: pinhole.id.clone(), state, public_port: translated.map(|translated| translated.public_port) }
        });
        Answer { pinholes: told.collect(), fault: None }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
