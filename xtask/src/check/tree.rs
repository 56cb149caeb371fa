//! The tree's own files: what git ignores, and what starts with a dot, is not ours to judge.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::root;

const NOT_OURS: &[&str] = &["target", "vendor", "artifacts"];

/// All files with this extension, relative to the workspace's folder, sorted.
pub(crate) fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(root(), extension, &mut found)?;
    found.sort();
    Ok(found)
}

pub(crate) fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {}", file.display()))
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || NOT_OURS.contains(&name.as_ref()) {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, extension, found)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            let inside = path.strip_prefix(root()).expect("the walk starts at the root");
            found.push(inside.to_path_buf());
        }
    }
    Ok(())
}
