//! Every relative link of every Markdown file leads to something that exists. Anchors are not looked at.

use std::path::Path;

use anyhow::Result;

use super::report::Report;
use super::tree;
use crate::process::root;

pub(crate) fn check() -> Result<()> {
    let mut report = Report::default();
    for file in tree::files("md")? {
        let folder = root().join(&file);
        let folder = folder.parent().expect("a file lies in a folder");
        for (line, link) in links(&tree::read(&file)?) {
            if !leads_somewhere(folder, &link) {
                report.problem(format!("{}:{line}: nothing at {link}", file.display()));
            }
        }
    }
    report.finish()
}

fn leads_somewhere(folder: &Path, link: &str) -> bool {
    let path = link.split(['#', '?']).next().unwrap_or_default().replace("%20", " ");
    // A leading slash means the repository, as forges read it.
    let target = match path.strip_prefix('/') {
        Some(inside) => root().join(inside),
        None => folder.join(&path),
    };
    target.exists()
}

/// The links that stay in the repository, with their line numbers: `[text](path "title")`, images, and definitions
/// `[label]: path`, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        if mark.is_some() && (fence.is_none() || fence == mark) {
            fence = if fence.is_none() { mark } else { None };
            continue;
        }
        if fence.is_none() {
            let targets = targets(&without_code(line));
            found.extend(targets.into_iter().filter(|link| is_relative(link)).map(|link| (index + 1, link)));
        }
    }
    found
}

fn targets(line: &str) -> Vec<String> {
    let mut found: Vec<String> = line.split("](").skip(1).filter_map(inline_target).collect();
    let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    if let Some((label, path)) = definition
        && !label.contains(['[', ']'])
        && !label.starts_with('^')
    {
        found.extend(path.split_whitespace().next().map(|path| path.trim_matches(['<', '>']).to_owned()));
    }
    found
}

/// `rest` starts behind `](`. A path may hold spaces in angle brackets, and balanced parentheses.
fn inline_target(rest: &str) -> Option<String> {
    if let Some(bracketed) = rest.strip_prefix('<') {
        return bracketed.split_once('>').map(|(path, _)| path.to_owned());
    }
    let mut depth = 0_usize;
    let end = rest.find(|letter: char| match letter {
        '(' => {
            depth += 1;
            false
        }
        ')' if depth > 0 => {
            depth -= 1;
            false
        }
        ')' => true,
        other => other.is_whitespace(),
    })?;
    Some(rest[..end].to_owned())
}

/// Every second piece between backticks is code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

fn is_relative(link: &str) -> bool {
    let scheme = link.split(['/', '#', '?']).next().is_some_and(|head| head.contains(':'));
    !(link.is_empty() || link.starts_with('#') || link.starts_with("//") || scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        links(text).into_iter().map(|(_, link)| link).collect()
    }

    #[test]
    fn finds_links_images_and_definitions() {
        assert_eq!(found("see [a](b.md) and ![c](d/e.png \"f\")"), ["b.md", "d/e.png"]);
        assert_eq!(found("[label]: ../x.md"), ["../x.md"]);
        assert_eq!(found("[a](<with space.md>) [b](with(parens).md)"), ["with space.md", "with(parens).md"]);
        assert_eq!(found("[![badge](b.svg)](c.md#top)"), ["b.svg", "c.md#top"]);
    }

    #[test]
    fn leaves_alone_what_is_not_a_path_here() {
        assert!(found("[a](https://example.org/b) [c](mailto:d@e) [f](#g) [^1]: note").is_empty());
        assert!(found("[^1]: note").is_empty());
        assert!(found("`[a](b.md)` and\n```\n[c](d.md)\n```\n").is_empty());
    }

    #[test]
    fn a_tilde_inside_a_backtick_fence_does_not_close_it() {
        assert_eq!(found("```\n~~~\n[a](b.md)\n```\n[c](d.md)"), ["d.md"]);
    }

    #[test]
    fn a_link_is_followed_from_its_file_or_from_the_root() {
        let here = root().join("xtask/src");
        assert!(leads_somewhere(&here, "main.rs#L1"));
        assert!(leads_somewhere(&here, "../Cargo.toml"));
        assert!(leads_somewhere(&here, "/xtask/Cargo.toml"));
        assert!(!leads_somewhere(&here, "gone.rs"));
    }
}
