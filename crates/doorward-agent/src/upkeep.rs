//! What the one gateway of an agent may ask of the agent itself, for the device's owner: the end of its log, and that it start
//! anew. An agent with several gateways does neither, since log and process belong to all of them.

use crate::state::StateDir;
use doorward_tunnel::messages::ErrandDone;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The last lines of a log, oldest first. Whoever writes the log puts them in.
#[derive(Clone, Debug, Default)]
pub struct LogTail(Arc<Mutex<VecDeque<String>>>);

/// What the program gives its agent to answer with.
#[derive(Clone, Debug)]
pub struct Upkeep {
    pub log: LogTail,
    /// Cancelled when the program shall end and start anew. `None`: it lasts as long as somebody's command.
    pub restart: Option<CancellationToken>,
}

/// Lines that are kept.
const KEPT: usize = 200;
/// Characters of a line; the rest is cut off.
const LONGEST: usize = 500;

const SEVERAL: &str = "this device serves several gateways, and its agent is no single one's: do it on the device";
const BUILT_IN: &str =
    "this agent is a part of the gateway's program: look at the gateway's log, and restart the gateway";
const BY_HAND: &str = "this agent was started by hand, for one service, and ends with that command";

impl LogTail {
    pub fn push(&self, line: &str) {
        let line = line.trim_end().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub fn last(&self, most: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(most)).cloned().collect()
    }
}

pub(crate) fn tell_log(upkeep: Option<&Upkeep>, state: &StateDir, number: u64, lines: u32) -> ErrandDone {
    match granted(upkeep, state) {
        Ok(upkeep) => {
            let lines = upkeep.log.last(usize::try_from(lines).unwrap_or(KEPT));
            ErrandDone { number, refused: None, lines }
        }
        Err(why) => ErrandDone { number, refused: Some(why), lines: Vec::new() },
    }
}

/// With what to do once the answer is said.
pub(crate) fn restart(
    upkeep: Option<&Upkeep>,
    state: &StateDir,
    number: u64,
) -> (ErrandDone, Option<CancellationToken>) {
    let granted = granted(upkeep, state);
    match granted.and_then(|upkeep| upkeep.restart.clone().ok_or_else(|| BY_HAND.to_owned())) {
        Ok(restart) => (ErrandDone { number, ..ErrandDone::default() }, Some(restart)),
        Err(why) => (ErrandDone { number, refused: Some(why), lines: Vec::new() }, None),
    }
}

fn granted<'u>(upkeep: Option<&'u Upkeep>, state: &StateDir) -> Result<&'u Upkeep, String> {
    let upkeep = upkeep.ok_or(BUILT_IN)?;
    let gateways = state.gateways().map_err(|error| error.to_string())?;
    if gateways.len() > 1 {
        return Err(SEVERAL.to_owned());
    }
    Ok(upkeep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_hundred_lines_are_kept_each_on_its_own_and_bounded() {
        let log = LogTail::default();
        for number in 0..250 {
            log.push(&format!("line {number}\n"));
        }
        log.push(&format!("\u{1b}[31mred\r\nand {}", "x".repeat(1000)));
        let lines = log.last(1000);
        assert_eq!((lines.len(), lines[0].as_str()), (KEPT, "line 51"));
        assert_eq!(lines[198], "line 249");
        assert!(lines[199].starts_with("[31mredand xxx") && lines[199].chars().count() == LONGEST, "{}", lines[199]);
        assert_eq!(log.last(2), lines[198..]);
    }

    #[test]
    fn an_agent_of_several_gateways_or_inside_one_neither_tells_its_log_nor_ends() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::new(directory.path());
        let upkeep = Upkeep { log: LogTail::default(), restart: Some(CancellationToken::new()) };
        upkeep.log.push("connected");
        assert_eq!(tell_log(Some(&upkeep), &state, 3, 200).lines, ["connected"]);
        assert!(restart(Some(&upkeep), &state, 4).1.is_some());
        let by_hand = Upkeep { restart: None, ..upkeep.clone() };
        assert_eq!(tell_log(Some(&by_hand), &state, 3, 200).lines, ["connected"]);
        assert_eq!(restart(Some(&by_hand), &state, 4).0.refused.as_deref(), Some(BY_HAND));
        let inside = tell_log(None, &state, 5, 200);
        assert_eq!((inside.number, inside.refused.as_deref(), inside.lines.len()), (5, Some(BUILT_IN), 0));
        assert!(restart(None, &state, 6).1.is_none());
        for gateway in ["one", "two"] {
            std::fs::create_dir_all(directory.path().join(gateway)).unwrap();
            std::fs::write(directory.path().join(gateway).join("site.json"), "").unwrap();
        }
        assert_eq!(state.gateways().unwrap().len(), 2, "as the state has them");
        assert_eq!(tell_log(Some(&upkeep), &state, 7, 200).refused.as_deref(), Some(SEVERAL));
        let (done, then) = restart(Some(&upkeep), &state, 8);
        assert!(then.is_none() && done.refused.as_deref() == Some(SEVERAL));
    }
}
