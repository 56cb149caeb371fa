//! Lists for people: aligned plain text for 80 columns, without colours.

use crate::terminal::plain;
use std::fmt;

/// The last column is wrapped; lines below a row are indented.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Default)]
struct Row {
    cells: Vec<String>,
    below: Vec<String>,
}

const WIDTH: usize = 80;
const GAP: usize = 2;
const INDENT: &str = "    ";
/// However little room is left.
const LEAST: usize = 24;

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| plain(&cell)).collect();
        self.rows.push(Row { cells, below: Vec::new() });
    }

    /// One more line about the last row.
    pub fn below(&mut self, line: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.below.push(plain(line));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Of all columns but the last. Columns in which nothing stands are left out.
    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| cell.chars().count());
            match cells.max().unwrap_or(0) {
                0 => 0,
                widest => widest.max(self.headings[column].chars().count()),
            }
        };
        (0..self.headings.len().saturating_sub(1)).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        if !self.headings.is_empty() {
            write_row(f, &self.headings, &widths)?;
        }
        for row in &self.rows {
            write_row(f, &row.cells, &widths)?;
            for line in &row.below {
                for part in wrap(line, WIDTH - INDENT.len()) {
                    writeln!(f, "{INDENT}{part}")?;
                }
            }
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
        line.push_str(&format!("{cell:<width$}"));
        line.push_str(&" ".repeat(GAP));
    }
    let start = line.chars().count();
    let mut last = wrap(cells.get(widths.len()).map_or("", String::as_str), WIDTH.saturating_sub(start).max(LEAST));
    line.push_str(&last.next().unwrap_or_default());
    writeln!(f, "{}", line.trim_end())?;
    last.try_for_each(|more| writeln!(f, "{}{more}", " ".repeat(start)))
}

/// Lines of at most `width` characters, broken between words; a longer word stands alone.
fn wrap(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_is_wrapped() {
        let mut table = Table::new(&["NAME", "LINK", "EMPTY", "SERVICES"]);
        let many = ["octoprint,"; 9].join(" ");
        table.row(["printer1".into(), "quic".into(), String::new(), many]);
        table.below("from 192.0.2.7");
        table.row(["zü".into(), "offline".into(), String::new(), "a\x1b[1m".into()]);
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('\x1b'));
        assert_eq!(
            text,
            "NAME      LINK     SERVICES\n\
             printer1  quic     octoprint, octoprint, octoprint, octoprint, octoprint,\n\
             \u{20}                  octoprint, octoprint, octoprint, octoprint,\n\
             \u{20}   from 192.0.2.7\n\
             zü        offline  a\u{fffd}[1m\n"
        );
    }
}
