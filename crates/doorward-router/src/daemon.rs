//! Hears what is wanted, sees what is there, and makes it so. Whatever was restarted meanwhile, the same is done.

use crate::error::RouterError;
use crate::nftables::{
    Element, Family, Nft, Ruleset, Structure, accept_rule, batch, blocking, drop_rule, drop_table, elements, gather,
    offload, own_accepts, translated_ports,
};
use crate::privileges::{User, give_up};
use crate::settings::Settings;
use crate::socket::{Limited, is_allowed, listen};
use crate::{conntrack, ports};
use doorward_core::pinhole::{
    Answer, Facts, Granted, MessageError, Number, Opening, Pinhole, PinholeId, Plan, Present, Refusal, State, Step,
    Told, Wishes, give_ports, plan,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::geteuid;
use serde_json::Value;
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
    let daemon = Daemon::new(settings)?;
    give_up(user)?;
    Ok(Prepared { listener, socket: options.socket, daemon })
}

impl Prepared {
    /// Runs until it is killed. What stands in the kernel then goes on and ends by itself.
    pub fn run(mut self, ready: impl FnOnce()) -> Result<(), RouterError> {
        self.daemon.take_over()?;
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

/// Takes away all rules of ours and forgets the connections that they let in.
pub fn remove(config: &Path) -> Result<(), RouterError> {
    let bits = Settings::read(config).map(|settings| settings.marks).unwrap_or_default();
    let nft = Nft::find()?;
    let accepts = own_accepts(&nft.ruleset()?);
    let rules = accepts.iter().map(|(chain, handle)| drop_rule(&chain.family, &chain.table, &chain.name, *handle));
    nft.apply(&(rules.collect::<String>() + &drop_table()))?;
    conntrack::forget_all(bits)
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
    structure: Structure,
    nft: Nft,
    /// How our table was listed when it was last written; `None`: it was not written by us.
    standing: Option<Vec<Value>>,
    wishes: Vec<Pinhole>,
    heard: Instant,
    /// When sessions end, more exactly than listings tell.
    ends: BTreeMap<PinholeId, Instant>,
    last: Option<Number>,
    last_port: Option<u16>,
}

/// What was seen before anything is done.
struct Seen {
    ruleset: Ruleset,
    sessions: Vec<(Present, Vec<Element>)>,
    strays: Vec<Element>,
    /// Sessions that connections remember, and whether they were answered.
    connected: BTreeMap<Number, bool>,
}

impl Daemon {
    fn new(settings: Settings) -> Result<Self, RouterError> {
        let structure = Structure { bits: settings.marks, lan: settings.lan.clone() };
        let (nft, heard) = (Nft::find()?, Instant::now());
        let (wishes, ends) = (Vec::new(), BTreeMap::new());
        Ok(Self { settings, structure, nft, standing: None, wishes, heard, ends, last: None, last_port: None })
    }

    /// What an earlier daemon left stays as it is, as far as the file still allows it.
    fn take_over(&mut self) -> Result<(), RouterError> {
        let found = match self.see() {
            Ok(seen) => seen.sessions,
            Err(RouterError::Listing(what)) => {
                warn!(what, "the table was written by another release and is made anew");
                self.nft.apply(&drop_table())?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let wish = |(there, _): (Present, _)| Pinhole {
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
        let seen = self.see()?;
        if let Some(what) = offload(&seen.ruleset) {
            self.nft.apply(&drop_table())?;
            self.standing = None;
            return Err(RouterError::Offload(what));
        }
        let mut taken = ports::listened_on();
        taken.extend(translated_ports(&seen.ruleset));
        let (facts, allow) = (Facts { taken }, &self.settings.allow);
        let present: Vec<Present> = seen.sessions.iter().map(|(present, _)| present.clone()).collect();
        self.last_port = give_ports(&mut self.wishes, &present, allow, &facts, self.last_port);
        let judged = allow.judge(&self.wishes, &facts);
        let granted: Vec<Granted> = judged.iter().filter_map(|judged| judged.as_ref().ok()).cloned().collect();
        let plan = self.plan(granted, &seen);
        self.carry_out(&plan, &seen)?;
        self.join_firewalls(&seen.ruleset)?;
        self.answer(&judged, &plan, &seen)
    }

    fn see(&self) -> Result<Seen, RouterError> {
        let ruleset = self.nft.ruleset()?;
        let gathered = gather(&ruleset, self.settings.marks)?;
        let connected = conntrack::sessions(self.settings.marks)?;
        let mut sessions = gathered.sessions;
        for (present, _) in &mut sessions {
            if let Some(end) = self.ends.get(&present.id) {
                present.ends_within = present.ends_within.min(end.saturating_duration_since(Instant::now()));
            }
        }
        Ok(Seen { ruleset, sessions, strays: gathered.strays, connected })
    }

    fn plan(&mut self, granted: Vec<Granted>, seen: &Seen) -> Plan {
        let present = seen.sessions.iter().map(|(present, _)| present.clone()).collect();
        let haunted: BTreeSet<Number> = seen.connected.keys().copied().collect();
        let plan = plan(granted, present, self.settings.marks, &haunted, self.last);
        let newest = plan.openings.iter().rfind(|opening| opening.step == Step::Open);
        self.last = newest.map(|opening| opening.number).or(self.last);
        plan
    }

    /// One transaction, read back.
    fn carry_out(&mut self, plan: &Plan, seen: &Seen) -> Result<(), RouterError> {
        let anew = self.standing.as_ref().is_none_or(|standing| *standing != seen.ruleset.structure());
        let is_written = |opening: &&Opening| anew || opening.step != Step::Keep;
        let written: Vec<&Opening> = plan.openings.iter().filter(is_written).collect();
        let rewritten: BTreeSet<Number> = written.iter().map(|opening| opening.number).collect();
        let ended: BTreeSet<Number> = plan.endings.iter().map(|ending| ending.number).collect();
        let is_gone = |number: &Number| rewritten.contains(number) || ended.contains(number);
        let gone = seen.sessions.iter().filter(|(present, _)| is_gone(&present.number));
        let gone: Vec<Element> = gone.flat_map(|(_, all)| all).chain(&seen.strays).cloned().collect();
        let passed = self.heard.elapsed();
        let come = written.iter().flat_map(|opening| {
            let left = opening.granted.pinhole().remaining.saturating_sub(passed);
            elements(&opening.granted, self.settings.marks.mark(opening.number)).into_iter().map(move |e| (e, left))
        });
        let come: Vec<(Element, Duration)> = come.collect();
        if anew || !gone.is_empty() || !come.is_empty() {
            let ending = plan.endings.len();
            debug!(anew, written = written.len(), ending, "the rules are changed");
            self.nft.apply(&batch(anew.then_some(&self.structure), &gone, &come))?;
            self.verify(plan, anew)?;
        }
        for opening in written {
            let pinhole = opening.granted.pinhole();
            self.ends.insert(pinhole.id.clone(), self.heard + pinhole.remaining);
        }
        self.ends.retain(|id, _| plan.openings.iter().any(|opening| opening.granted.pinhole().id == *id));
        Ok(())
    }

    fn verify(&mut self, plan: &Plan, anew: bool) -> Result<(), RouterError> {
        let own = self.nft.own_table()?;
        let structure = own.structure();
        if anew {
            self.standing = Some(structure);
        } else if self.standing.as_ref() != Some(&structure) {
            return Err(RouterError::NotVerified("somebody else writes in our table".to_owned()));
        }
        let there = gather(&own, self.settings.marks)?;
        let there: BTreeMap<Number, Present> =
            there.sessions.into_iter().map(|(present, _)| (present.number, present)).collect();
        let passed = self.heard.elapsed();
        let mut wanted = 0;
        for opening in &plan.openings {
            let pinhole = opening.granted.pinhole();
            let left = pinhole.remaining.saturating_sub(passed);
            let Some(present) = there.get(&opening.number) else {
                // Its time may be over by now.
                if left < Duration::from_secs(1) {
                    continue;
                }
                return Err(RouterError::NotVerified(format!("{} is not there", pinhole.id)));
            };
            wanted += 1;
            let is_longer = present.ends_within > pinhole.remaining + Duration::from_secs(2);
            if present.way != pinhole.way || present.id != pinhole.id || is_longer {
                return Err(RouterError::NotVerified(format!("{} is there as {present:?}", pinhole.id)));
            }
        }
        if wanted == there.len() { Ok(()) } else { Err(RouterError::NotVerified("there is more".to_owned())) }
    }

    /// Puts an accept for our packets into chains that would drop them.
    fn join_firewalls(&self, ruleset: &Ruleset) -> Result<(), RouterError> {
        if !self.settings.join_firewalls {
            return Ok(());
        }
        let mut chains = blocking(ruleset, Family::Translated);
        chains.extend(blocking(ruleset, Family::Direct));
        chains.sort();
        chains.dedup();
        for chain in chains {
            self.nft.apply(&accept_rule(&chain.family, &chain.table, &chain.name, self.settings.marks))?;
            info!(chain = chain.words(), "an accept for pinholes was put first into a firewall's chain");
        }
        Ok(())
    }

    fn answer(&self, judged: &[Result<Granted, Refusal>], plan: &Plan, seen: &Seen) -> Result<Answer, RouterError> {
        let blocked = self.blocked(seen)?;
        let numbers: BTreeMap<&PinholeId, Number> =
            plan.openings.iter().map(|opening| (&opening.granted.pinhole().id, opening.number)).collect();
        let state = |pinhole: &Pinhole, judged: &Result<Granted, Refusal>| match judged {
            Err(refusal) => State::Refused(refusal.clone()),
            Ok(_) => match numbers.get(&pinhole.id) {
                None => State::Refused(Refusal::TooMany),
                Some(number) if seen.connected.get(number).copied().unwrap_or_default() => State::Passed,
                Some(_) => blocked.by(pinhole).map_or(State::Ready, State::Blocked),
            },
        };
        let told = self.wishes.iter().zip(judged);
        let told = told.map(|(pinhole, judged)| {
            let state = state(pinhole, judged);
            let translated = pinhole.way.translated.as_ref().filter(|_| !matches!(state, State::Refused(_)));
            Told { id: pinhole.id.clone(), state, public_port: translated.map(|translated| translated.public_port) }
        });
        Ok(Answer { pinholes: told.collect(), fault: None })
    }

    fn blocked(&self, seen: &Seen) -> Result<Blocked, RouterError> {
        let first = |ruleset: &Ruleset, family| blocking(ruleset, family).first().map(|chain| chain.words());
        let by = |ruleset: &Ruleset| Blocked {
            translated: first(ruleset, Family::Translated),
            direct: first(ruleset, Family::Direct),
        };
        let blocked = by(&seen.ruleset);
        let is_joined = self.settings.join_firewalls && (blocked.translated.is_some() || blocked.direct.is_some());
        if is_joined { Ok(by(&self.nft.ruleset()?)) } else { Ok(blocked) }
    }
}

/// The first chain of others that drops our packets.
struct Blocked {
    translated: Option<String>,
    direct: Option<String>,
}

impl Blocked {
    /// Whom a pinhole has no way past.
    fn by(&self, pinhole: &Pinhole) -> Option<String> {
        let translated = pinhole.way.translated.as_ref().map(|_| &self.translated);
        let direct = pinhole.way.direct.as_ref().map(|_| &self.direct);
        translated.into_iter().chain(direct).flatten().next().cloned()
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
