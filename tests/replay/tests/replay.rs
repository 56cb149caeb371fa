//! Every input that the fuzzers found worth keeping, once.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_replay::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The names of what lies in a folder, without what follows a dot.
fn names(folder: &Path) -> BTreeSet<String> {
    files(folder).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_kept_input_passes_its_target() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        let inputs = files(&fuzz().join("corpus").join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        let mut ran = 0;
        for path in &inputs {
            let input = fs::read(path).unwrap();
            if catch_unwind(|| target(&input)).is_err() {
                failures.push(format!("{name}: {}", path.display()));
            }
            ran += 1;
        }
        assert_eq!(ran, inputs.len());
        println!("{name}: {ran} inputs");
    }
    assert!(failures.is_empty(), "failed:\n{}", failures.join("\n"));
}

#[test]
fn targets_corpora_and_fuzz_programs_are_the_same_set() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &targets {
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name} is not in fuzz/Cargo.toml");
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("doorward_replay::{name}(")), "{name}.rs runs something else");
    }
}

#[test]
fn corpora_stay_small() {
    for (name, _) in TARGETS {
        let inputs = files(&fuzz().join("corpus").join(name));
        let bytes: u64 = inputs.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(inputs.len() <= 50 && bytes <= 16 * 1024, "{name}: {} files, {bytes} bytes", inputs.len());
    }
}
