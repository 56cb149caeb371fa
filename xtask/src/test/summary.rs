//! What is shown at the end, and what counts as failure.

use std::time::Duration;

use super::run::{Counts, Outcome};

/// Every program's closing lines as it printed them, then one line for each suite.
pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n== summary\n");
    for outcome in outcomes.iter().filter(|outcome| !outcome.counts.is_empty() || !outcome.succeeded) {
        for line in &outcome.closing {
            if !line.contains(" 0 passed; 0 failed; 0 ignored;") {
                text.push_str(&format!("{:<7} {:<28} {line}\n", outcome.suite, outcome.label));
            }
        }
    }
    let mut suites: Vec<&str> = outcomes.iter().map(|outcome| outcome.suite).collect();
    suites.dedup();
    for suite in suites {
        let (counts, took) = total(suite, outcomes);
        let Counts { passed, failed, ignored } = counts;
        let seconds = took.as_secs_f32();
        text.push_str(&format!("{suite:<7} {passed} passed, {failed} failed, {ignored} ignored in {seconds:.1} s\n"));
    }
    for outcome in outcomes {
        for name in &outcome.unsteady {
            text.push_str(&format!("unsteady: {name} ({}) failed, and passed by itself\n", outcome.label));
        }
    }
    text
}

/// `strict` is CI's view: a test that did not run is a test that failed.
pub(crate) fn problems(suites: &[&str], outcomes: &[Outcome], strict: bool, is_filtered: bool) -> Vec<String> {
    let failed = outcomes.iter().filter(|outcome| !outcome.succeeded);
    let mut problems: Vec<String> = failed
        .map(|outcome| format!("tests failed: {} ({}){}", outcome.label, outcome.suite, death(outcome)))
        .collect();
    let everything = outcomes.iter().map(|outcome| outcome.counts).fold(Counts::default(), Counts::plus);
    if strict && everything.ignored > 0 {
        problems.push(format!("{} tests were ignored; in CI every test runs", everything.ignored));
    }
    if is_filtered && everything.is_empty() && problems.is_empty() {
        problems.push("no test has such a name".to_owned());
    }
    if strict && !is_filtered {
        let silent = suites.iter().filter(|suite| total(suite, outcomes).0.is_empty());
        problems.extend(silent.map(|suite| format!("no test ran in the suite {suite}")));
    }
    problems
}

fn death(outcome: &Outcome) -> String {
    outcome.death.as_ref().map(|death| format!(", {death}")).unwrap_or_default()
}

fn total(suite: &str, outcomes: &[Outcome]) -> (Counts, Duration) {
    let own = outcomes.iter().filter(|outcome| outcome.suite == suite);
    own.fold((Counts::default(), Duration::ZERO), |(counts, took), outcome| {
        (counts.plus(outcome.counts), took + outcome.took)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(suite: &'static str, passed: usize, ignored: usize, succeeded: bool) -> Outcome {
        let counts = Counts { passed, failed: 0, ignored };
        let closing = vec![format!("test result: ok. {passed} passed; 0 failed; {ignored} ignored; …")];
        Outcome {
            suite,
            label: format!("doorward-{suite}"),
            closing,
            counts,
            failed: vec![],
            unsteady: vec![],
            succeeded,
            death: None,
            took: Duration::from_secs(1),
        }
    }

    #[test]
    fn an_ignored_test_fails_in_ci_only() {
        let outcomes = [outcome("lab", 1, 1, true)];
        assert_eq!(problems(&["lab"], &outcomes, true, false), ["1 tests were ignored; in CI every test runs"]);
        assert!(problems(&["lab"], &outcomes, false, false).is_empty());
    }

    #[test]
    fn a_suite_in_which_nothing_ran_fails_in_ci_only() {
        let outcomes = [outcome("unit", 1, 0, true), outcome("lab", 0, 0, true)];
        assert_eq!(problems(&["unit", "lab"], &outcomes, true, false), ["no test ran in the suite lab"]);
        assert!(problems(&["unit", "lab"], &outcomes, false, false).is_empty());
        assert!(problems(&["unit", "lab"], &outcomes, true, true).is_empty());
    }

    #[test]
    fn a_filter_that_matches_nothing_is_told() {
        assert_eq!(problems(&["lab"], &[outcome("lab", 0, 0, true)], false, true), ["no test has such a name"]);
    }

    #[test]
    fn a_program_that_ends_badly_fails_whatever_it_printed() {
        let outcomes = [outcome("lab", 3, 0, false)];
        assert_eq!(problems(&["lab"], &outcomes, false, false), ["tests failed: doorward-lab (lab)"]);
    }

    #[test]
    fn a_program_that_died_is_reported_with_how() {
        let mut outcome = outcome("lab", 0, 0, false);
        outcome.death = Some("which died (signal: 11 (SIGSEGV))".to_owned());
        let expected = ["tests failed: doorward-lab (lab), which died (signal: 11 (SIGSEGV))"];
        assert_eq!(problems(&["lab"], &[outcome], false, false), expected);
    }

    #[test]
    fn an_unsteady_test_is_told() {
        let mut outcome = outcome("lab", 2, 0, true);
        outcome.unsteady.push("a_race".to_owned());
        assert!(text(&[outcome]).ends_with("unsteady: a_race (doorward-lab) failed, and passed by itself\n"));
    }

    #[test]
    fn the_summary_repeats_closing_lines_and_adds_up_suites() {
        let text = text(&[outcome("lab", 2, 0, true), outcome("lab", 3, 0, true), outcome("unit", 0, 0, true)]);
        assert!(text.contains("lab     doorward-lab                 test result: ok. 2 passed;"));
        assert!(text.contains("lab     5 passed, 0 failed, 0 ignored in 2.0 s"));
        assert!(!text.contains("doorward-unit"));
    }
}
