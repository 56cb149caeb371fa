//! A long file holds a second idea.

use std::path::Path;

use anyhow::Result;

use super::report::Report;
use super::tree;

const WARN_ABOVE: usize = 400;
const FAIL_ABOVE: usize = 600;

pub(crate) fn check() -> Result<()> {
    let mut report = Report::default();
    for file in tree::files("rs")? {
        if !is_test(&file) {
            judge(&file, code_lines(&tree::read(&file)?), &mut report);
        }
    }
    report.finish()
}

fn judge(file: &Path, lines: usize, report: &mut Report) {
    let file = file.display();
    if lines > FAIL_ABOVE {
        report.problem(format!("{file} has {lines} lines; {FAIL_ABOVE} is the end: move its second idea out"));
    } else if lines > WARN_ABOVE {
        report.note(format!("{file} has {lines} lines; look for its second idea"));
    }
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.file_stem().is_some_and(|stem| stem == "tests")
}

/// Without the tests, which stand last by the house style: nobody shall save on them.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: usize) -> Report {
        let mut report = Report::default();
        judge(Path::new("a.rs"), lines, &mut report);
        report
    }

    #[test]
    fn past_400_lines_is_noted_and_past_600_fails() {
        assert!(judged(400).notes().is_empty());
        assert_eq!(judged(401).notes().len(), 1);
        assert!(judged(600).problems().is_empty());
        assert_eq!(judged(601).problems().len(), 1);
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        let code = "one\ntwo\n";
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(code_lines(&format!("{code}{tests}")), 2);
        assert_eq!(code_lines("#[cfg(test)]\nuse x;\n"), 2);
    }

    #[test]
    fn test_files_are_known_by_their_folder_or_name() {
        assert!(is_test(Path::new("tests/lab/src/lib.rs")));
        assert!(is_test(Path::new("crates/x/src/admit/tests.rs")));
        assert!(!is_test(Path::new("crates/x/src/contests.rs")));
    }
}
