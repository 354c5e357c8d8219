//! Each ready mapping has an example beside it: topic, payload, and what is read of it. `UPDATE_EXPECT=1` writes what is
//! read now.

use std::{fmt::Write, fs};

use base64::{Engine, engine::general_purpose::STANDARD};
use processor::memory::Memory;

use crate::street::{lines, mappings, message, ready};

/// When the examples are received.
const RECEIVED: &str = "2026-11-22T12:00:00Z";

/// `topic T`, the payload (or `base64 ...`), `=>`, the lines; again after an empty line.
fn run(name: &str, text: &str) -> String {
    let mapping = ready(name);
    let mut memory = Memory::default();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("topic ") {
        out.push_str(&rest[..at]);
        let block = &rest[at..];
        let (head, after) = block.split_once("\n=>\n").expect("an example has a line =>");
        let (topic, payload) = head["topic ".len()..].split_once('\n').expect("an example has a payload");
        let (topic, received) = topic.split_once(" at ").unwrap_or((topic, RECEIVED));
        let bytes = match payload.strip_prefix("base64 ") {
            Some(text) => STANDARD.decode(text.trim()).expect("Base64"),
            None => payload.as_bytes().to_vec(),
        };
        let read = lines(&mapping, &message(topic, &bytes, received), &mut memory);
        writeln!(out, "{head}\n=>").unwrap();
        read.iter().for_each(|line| writeln!(out, "{line}").unwrap());
        rest = after.find("\n\n").map_or("", |at| &after[at + 1..]);
        if after.starts_with('\n') {
            rest = after; // nothing was read of it
        }
    }
    out.push_str(rest);
    out
}

#[test]
fn each_ready_mapping_reads_its_example() {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(mappings()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert!(22 <= names.len());
    for name in names {
        let path = mappings().join("examples").join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let now = run(&name, &text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &now).unwrap();
            continue;
        }
        assert!(text.contains("topic "), "{name} has no example");
        assert_eq!(now, text, "{name}");
    }
}
