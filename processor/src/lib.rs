//! Payloads in, tables out: the heart of Screenline. It depends on nothing else of ours.
//!
//! # Layout, in the order data flows
//! - [`model`]: the vocabulary; no I/O, no clock
//! - [`mapping`]: which topics and payloads become which series (TOML)
//! - [`registry`]: the sensors and series a city knows
//! - [`decode`]: a payload becomes readings
//! - [`memory`]: what is remembered of senders whose messages cannot be read alone
//! - [`validate`]: times and ranges become quality flags or a reason to refuse
//! - [`process`](fn@process): both, for a batch, on every core
//! - [`store`]: connect, migrate, write a batch in one transaction, read it back
//! - [`aggregate`]: readings become the state of a bucket
//! - [`measure`]: what the states mean: traffic and utilities
//! - [`roller`]: dirty marks become rollups
//! - [`street`]: what does not come from a broker; [`redrive`]: rejected messages once more
//! - [`auditor`]: computes rollups again, beside the roller, and compares
//! - [`faults`]: failpoints and planted bugs; nothing in ordinary builds
//! - [`service`]: what every service process shares: back-off, and the way from tokio to rayon

pub mod model;

pub mod mapping;

pub mod registry;

pub mod decode;

pub mod memory;

pub mod validate;

pub mod process;

pub mod store;

pub mod aggregate;

pub mod measure;

pub mod roller;

pub mod redrive;

pub mod street;

pub mod auditor;

pub mod service;

pub mod faults;

pub use process::process;
