//! Mappings that are part of the program, by name.

use std::path::{Path, PathBuf};

use processor::mapping::{self, MappingError};

/// A mapping for one format, as `deploy/mappings/` has it.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! ready {
    ($($name:literal),* $(,)?) => {
        &[$(Ready { name: $name, text: include_str!(concat!("../../deploy/mappings/", $name, ".toml")) }),*]
    };
}

/// Every one of them, by name.
pub const ALL: &[Ready] = ready![
    "camera-events",
    "chirpstack",
    "datex2",
    "digitraffic",
    "dsmr",
    "influx",
    "ngsi",
    "pems-30s",
    "pems-5min",
    "plain",
    "senml",
    "senml-cbor",
    "sensorthings",
    "shelly",
    "signal-events",
    "sparkplug",
    "tasmota",
    "things-stack",
    "traffic-passages",
    "water-registers",
    "wmbusmeters",
    "zigbee2mqtt",
];

/// Those in use where none is asked for: they take topics below `city/`.
pub const CITY: &[&str] = &["senml", "traffic-passages", "water-registers"];

pub fn find(name: &str) -> Option<&'static Ready> {
    ALL.iter().find(|ready| ready.name == name)
}

/// The names and texts of mapping files, of the files of folders, and of ready mappings, in order.
///
/// # Errors
/// A file cannot be read.
pub fn texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, MappingError> {
    let mut texts = Vec::new();
    for path in paths {
        match path.to_str().and_then(find).filter(|_| !Path::exists(path)) {
            Some(ready) => texts.push((format!("{} (ready)", ready.name), ready.text.to_owned())),
            None => texts.extend(mapping::read(path)?),
        }
    }
    Ok(texts)
}
