//! Copies of the audit that can be verified anywhere: JSON Lines. The first says on which line the copy rests, the last how
//! it ends, so that a copy that was cut off is noticed.

use super::{PAGE, Part, sound};
use crate::admin::{AskError, Owner};
use doorward_control::{Anchor, Broken, ChainedLine, LineHash, Verifier};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use thiserror::Error;

/// A line that is none of the audit's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mark {
    /// The copy begins after this one.
    AuditAfter(Anchor),
    /// This was the last one.
    AuditEnds(Anchor),
}

#[derive(Debug, Error)]
pub enum CopyError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the copy cannot be written or read: {0}")]
    Io(#[from] io::Error),
    #[error("line {number} of the file is none of an audit: {why}")]
    Strange { number: u64, why: String },
    #[error("the audit was changed: {broken}. The {lines} lines before it are as they were written")]
    Broken { broken: Broken, lines: u64 },
    #[error("the file ends in the middle: its last line is missing")]
    CutOff,
    #[error("there is no line with the hash {0}: it was forgotten since, or all that led to it was rewritten")]
    NotThere(LineHash),
}

/// Writes the lines from `since` on, the oldest first.
pub async fn export(owner: &Owner, since: Option<Timestamp>, mut to: impl Write) -> Result<u64, CopyError> {
    let first = match since {
        Some(since) => format!("since={since}"),
        None => "from=0".to_owned(),
    };
    let mut part: Part = owner.get(&format!("/audit/part?{first}&limit={PAGE}")).await?.read()?;
    let mut verifier = Verifier::from(part.after);
    mark(&mut to, &Mark::AuditAfter(part.after))?;
    while !part.lines.is_empty() {
        for line in &part.lines {
            hold(&mut verifier, line)?;
            serde_json::to_writer(&mut to, line).map_err(io::Error::from)?;
            to.write_all(b"\n")?;
        }
        let next = verifier.head().id + 1;
        part = owner.get(&format!("/audit/part?from={next}&limit={PAGE}")).await?.read()?;
    }
    mark(&mut to, &Mark::AuditEnds(verifier.head()))?;
    to.flush()?;
    Ok(verifier.lines())
}

fn mark(to: &mut impl Write, mark: &Mark) -> Result<(), CopyError> {
    serde_json::to_writer(&mut *to, mark).map_err(io::Error::from)?;
    Ok(to.write_all(b"\n")?)
}

fn hold(verifier: &mut Verifier, line: &ChainedLine) -> Result<(), CopyError> {
    verifier.hold(line).map_err(|broken| CopyError::Broken { broken, lines: verifier.lines() })
}

/// Goes along a copy, with nothing but the file.
pub fn verify_file(file: impl BufRead, expected: Option<LineHash>) -> Result<String, CopyError> {
    let mut lines = (1_u64..).zip(file.lines());
    let strange = |number, why: &dyn std::fmt::Display| CopyError::Strange { number, why: why.to_string() };
    let (number, first) = lines.next().ok_or(CopyError::CutOff)?;
    let after = match serde_json::from_str(&first?) {
        Ok(Mark::AuditAfter(after)) => after,
        Ok(Mark::AuditEnds(_)) => return Err(strange(number, &"it is the last one of a copy")),
        Err(error) => return Err(strange(number, &error)),
    };
    let mut verifier = Verifier::from(after);
    let mut is_expected_there = expected.is_none_or(|hash| hash == after.hash);
    for (number, text) in lines {
        let text = text?;
        if let Ok(Mark::AuditEnds(end)) = serde_json::from_str(&text) {
            return match (end == verifier.head(), expected.filter(|_| !is_expected_there)) {
                (false, _) => Err(CopyError::CutOff),
                (true, Some(missing)) => Err(CopyError::NotThere(missing)),
                (true, None) => Ok(sound(verifier.lines(), after, end)),
            };
        }
        let line: ChainedLine = serde_json::from_str(&text).map_err(|error| strange(number, &error))?;
        hold(&mut verifier, &line)?;
        is_expected_there |= expected == Some(line.hash);
    }
    Err(CopyError::CutOff)
}

/// That the running gateway's chain goes through it.
pub(super) async fn look_for(owner: &Owner, expected: LineHash) -> Result<(), CopyError> {
    let mut next = 0;
    loop {
        let part: Part = owner.get(&format!("/audit/part?from={next}&limit={PAGE}")).await?.read()?;
        if part.after.hash == expected || part.lines.iter().any(|line| line.hash == expected) {
            return Ok(());
        }
        let Some(last) = part.lines.last() else { return Err(CopyError::NotThere(expected)) };
        next = last.line.id + 1;
    }
}
