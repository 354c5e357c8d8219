//! What no compiler checks: the shape of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// A file past this wants splitting by meaning.
const LINES_MAX: usize = 600;

const CRATES: [&str; 6] = ["processor", "ingest", "query", "simulators", "deploy/screenline", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of ours with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn visit(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden && !path.ends_with("target") && !path.ends_with("node_modules") {
                visit(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    for krate in CRATES {
        visit(&root().join(krate), &mut found);
    }
    assert!(found.len() > CRATES.len());
    found
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, split it by meaning", path.display());
    }
}

#[test]
fn no_work_is_left_as_a_mark_in_the_code() {
    // Put together here, so that this file does not find itself.
    let marks =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "to".to_owned() + "do!(", "XX".to_owned() + "X"];
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().find(|mark| line.contains(mark.as_str()));
            assert!(found.is_none(), "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn the_model_has_no_clock_and_no_io() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::io",
        "SystemTime",
        "Instant::now",
        "::now()",
        "tokio",
        "rand",
        "std::env",
    ];
    let model = root().join("processor/src/model");
    for (path, text) in sources() {
        if !path.starts_with(&model) && !path.ends_with("processor/src/model.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = forbidden.iter().find(|word| code.contains(*word));
            assert!(found.is_none(), "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    // What each crate may use of ours, as the design draws it.
    let allowed: [(&str, &[&str]); 6] = [
        ("processor", &[]),
        ("simulators", &[]),
        ("ingest", &["processor"]),
        ("query", &["processor"]),
        ("deploy/screenline", &["processor", "ingest", "query", "simulators"]),
        ("tests", &["processor", "ingest", "simulators"]), // ingest for the simulation of its core
    ];
    for (krate, may) in allowed {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        for ours in ["processor", "ingest", "query", "simulators", "screenline", "tests"] {
            let uses = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{ours}.")) || line.starts_with(&format!("{ours} =")));
            assert!(!uses || may.contains(&ours), "{krate} must not depend on {ours}");
        }
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for krate in CRATES {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{krate}/Cargo.toml");
    }
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let mut numbers: Vec<u32> = Vec::new();
    for entry in fs::read_dir(root().join("deploy/sql")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let number = name.split('_').next().and_then(|digits| digits.parse().ok());
        numbers.push(number.unwrap_or_else(|| panic!("deploy/sql/{name} has no number")));
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
}

#[test]
fn every_measure_is_in_the_reference() {
    let reference = fs::read_to_string(root().join("processor/MEASURES.md")).unwrap();
    for name in ["traffic", "station", "road", "utility", "zone", "impute", "detector"] {
        let path = root().join(format!("processor/src/measure/{name}.rs"));
        let text = fs::read_to_string(&path).unwrap();
        let functions = text.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn "));
        for function in functions.filter_map(|line| line.split(['(', '<']).next()) {
            assert!(
                reference.contains(&format!("`{function}`")),
                "{}: {function} is not there",
                path.display()
            );
        }
    }
}
