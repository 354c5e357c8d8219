//! What must hold for any input: of strangers' bytes, and of any order, repetition and split of messages.
//! `PROPTEST_CASES` says how many inputs each property tries.

mod city;
mod fuzz;
mod generate;
mod independence;
mod mapping;
mod memory;
mod payload;
mod vocabulary;
