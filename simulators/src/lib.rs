//! Feeds without a city: a made-up city on the air, recordings and their replay over MQTT, files of other simulators, and
//! the oracle that says what must have become of all that.
//!
//! Nothing here knows how Screenline stores a reading. What is checked against these feeds must not
//! share code with what made them.

pub mod broker;
pub mod city;
mod connection;
pub mod feed;
pub mod filter;
pub mod gateway;
pub mod importer;
#[cfg(test)]
mod mosquitto;
pub mod observation;
pub mod oracle;
mod publisher;
pub mod record;
pub mod recording;
pub mod replay;
pub mod simulation;
pub mod speech;

/// `println!` is captured while a test passes; a write to the stream itself is not.
#[cfg(test)]
fn say(text: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n"));
}
