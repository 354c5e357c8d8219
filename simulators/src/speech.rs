//! How sensors say what they measured: one file for each payload format.

pub mod passages;
pub mod senml;
