//! Errands on their way to one agent: what somebody asks of it, and what it answers.

use doorward_control::{Asked, Errand, ErrandError};
use doorward_tunnel::GatewayLink;
use doorward_tunnel::messages::{ErrandDone, LogWanted, Message, RestartWanted, Unsupported};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct UnderWay {
    asked: BTreeMap<u64, Asked>,
    last: u64,
}

/// At once.
const MOST: usize = 8;
/// Lines of its log that an agent is asked for.
const LINES: u32 = 200;
/// Characters of a line that an agent tells.
const LONGEST: usize = 500;

impl UnderWay {
    pub(super) fn send(&mut self, asked: Asked, link: &GatewayLink) {
        self.asked.retain(|_, asked| !asked.is_given_up());
        self.last += 1;
        let number = self.last;
        let message = match asked.errand {
            Errand::Log => Message::LogWanted(LogWanted { number, lines: LINES }),
            Errand::Restart => Message::RestartWanted(RestartWanted { number }),
        };
        if self.asked.len() >= MOST || !link.mention(message) {
            return asked.answer(Err(ErrandError::Busy));
        }
        self.asked.insert(number, asked);
    }

    /// What an agent says is shown to people: bounded, and each line on its own.
    pub(super) fn hear(&mut self, done: ErrandDone) {
        let Some(asked) = self.asked.remove(&done.number) else { return };
        let words = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>();
        asked.answer(match done.refused {
            Some(why) => Err(ErrandError::Refused(words(&why))),
            None => Ok(done.lines.iter().take(LINES as usize).map(|line| words(line)).collect()),
        });
    }

    /// An older agent, which names the kind alone: whatever was asked by such a message is not done.
    pub(super) fn hear_unsupported(&mut self, what: &Unsupported) {
        let kind = |errand| match errand {
            Errand::Log => Message::LogWanted(LogWanted::default()).kind(),
            Errand::Restart => Message::RestartWanted(RestartWanted::default()).kind(),
        };
        let is_meant = |asked: &Asked| u32::from(kind(asked.errand)) == what.kind;
        let meant: Vec<_> = self.asked.iter().filter(|(_, asked)| is_meant(asked)).map(|(number, _)| *number).collect();
        meant
            .iter()
            .filter_map(|number| self.asked.remove(number))
            .for_each(|asked| asked.answer(Err(ErrandError::TooOld)));
    }
}
