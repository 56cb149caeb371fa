//! Two policies beside each other: what somebody else saved meanwhile, and one's own.

use super::text;
use crate::PortalState;
use crate::answer::Problem;
use doorward_control::{AuditChoice, ServiceRecord};
use doorward_core::access::PolicyDocument;
use doorward_core::audit::Deed;
use jiff::Timestamp;

pub(in crate::pages) struct Conflict {
    pub(in crate::pages) theirs: Vec<Line>,
    pub(in crate::pages) mine: Vec<Line>,
    /// Who was faster, by name (empty: whoever is at the gateway itself), and when.
    pub(in crate::pages) by: Option<(String, Timestamp)>,
}

pub(in crate::pages) struct Line {
    pub(in crate::pages) text: String,
    /// The other side has none like it.
    pub(in crate::pages) is_only_here: bool,
}

impl Conflict {
    pub(in crate::pages) async fn of(
        state: &PortalState,
        record: &ServiceRecord,
        mine: &PolicyDocument,
    ) -> Result<Self, Problem> {
        let (theirs, mine) = (record.access.without_hashes(), mine.without_hashes());
        let (theirs, mine) = beside(&text::write(&theirs), &text::write(&mine));
        let deed = Deed::AccessChanged.word().to_owned();
        let choice = AuditChoice { service: record.service.path(), deed, ..AuditChoice::default() };
        let last = state.control.audit_of(&choice, 1).await?;
        let by = last.into_iter().next().map(|chained| (chained.line.person, chained.line.at));
        Ok(Self { theirs, mine, by })
    }
}

/// Each key of a table stands in a line of its own, so that lines are what differs.
fn beside(one: &str, other: &str) -> (Vec<Line>, Vec<Line>) {
    let lines = |text: &str, against: &str| {
        let is_there = |line: &str| against.lines().any(|other| other == line);
        text.lines()
            .map(|line| Line { text: line.to_owned(), is_only_here: !line.is_empty() && !is_there(line) })
            .collect()
    };
    (lines(one, other), lines(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_the_other_side_lacks_are_marked_on_both() {
        let (one, other) = beside("a\nb\nc", "a\nc\nd\n");
        let marked =
            |lines: &[Line]| lines.iter().map(|line| (line.text.clone(), line.is_only_here)).collect::<Vec<_>>();
        assert_eq!(marked(&one), [("a".into(), false), ("b".into(), true), ("c".into(), false)]);
        assert_eq!(marked(&other), [("a".into(), false), ("c".into(), false), ("d".into(), true)]);
    }
}
