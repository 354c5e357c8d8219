//! How sensors say what they measured: one file for each payload format, each with what ingest's ready mapping of that
//! name must make of it.
//!
//! Names of sensors are letters, digits, `_`, `.` and `-`, and end in a letter or a digit: they stand in topics, in XML and
//! in tags. Numbers have fewer than 2^53 digits, in the units of [`metric`]: a reading in another unit is not said. Times
//! are cut to what a format can write.
//!
//! What is told to two formats under one sensor's name may be stored under different sensors: most mappings put a prefix
//! before the name.

mod camera_events;
mod datex2;
mod digitraffic;
mod dsmr;
mod identity;
mod influx;
mod lora;
pub mod metric;
mod moment;
mod ngsi;
pub mod passages;
mod pems;
mod plain;
pub mod senml;
mod senml_cbor;
mod sensorthings;
mod shelly;
mod signal_events;
pub mod sparkplug;
mod speaker;
mod tasmota;
mod water_registers;
mod wmbusmeters;
mod zigbee2mqtt;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use speaker::Speaker;

use crate::observation::{Passage, Reading, Utterance};

/// A payload format, by the name of its ready mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Format {
    CameraEvents,
    Chirpstack,
    Datex2,
    Digitraffic,
    Dsmr,
    Influx,
    Ngsi,
    Pems30s,
    Pems5min,
    Plain,
    Senml,
    SenmlCbor,
    Sensorthings,
    Shelly,
    SignalEvents,
    Sparkplug,
    Tasmota,
    ThingsStack,
    TrafficPassages,
    WaterRegisters,
    Wmbusmeters,
    Zigbee2mqtt,
}

impl Format {
    pub const ALL: [Format; 22] = [
        Format::CameraEvents,
        Format::Chirpstack,
        Format::Datex2,
        Format::Digitraffic,
        Format::Dsmr,
        Format::Influx,
        Format::Ngsi,
        Format::Pems30s,
        Format::Pems5min,
        Format::Plain,
        Format::Senml,
        Format::SenmlCbor,
        Format::Sensorthings,
        Format::Shelly,
        Format::SignalEvents,
        Format::Sparkplug,
        Format::Tasmota,
        Format::ThingsStack,
        Format::TrafficPassages,
        Format::WaterRegisters,
        Format::Wmbusmeters,
        Format::Zigbee2mqtt,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::CameraEvents => "camera-events",
            Format::Chirpstack => "chirpstack",
            Format::Datex2 => "datex2",
            Format::Digitraffic => "digitraffic",
            Format::Dsmr => "dsmr",
            Format::Influx => "influx",
            Format::Ngsi => "ngsi",
            Format::Pems30s => "pems-30s",
            Format::Pems5min => "pems-5min",
            Format::Plain => "plain",
            Format::Senml => "senml",
            Format::SenmlCbor => "senml-cbor",
            Format::Sensorthings => "sensorthings",
            Format::Shelly => "shelly",
            Format::SignalEvents => "signal-events",
            Format::Sparkplug => "sparkplug",
            Format::Tasmota => "tasmota",
            Format::ThingsStack => "things-stack",
            Format::TrafficPassages => "traffic-passages",
            Format::WaterRegisters => "water-registers",
            Format::Wmbusmeters => "wmbusmeters",
            Format::Zigbee2mqtt => "zigbee2mqtt",
        }
    }

    /// Whether it can say a reading of this metric with this interval in seconds, 0 of an instant; `traffic.vehicle` of a
    /// passage.
    pub fn says(self, metric: &str, interval_s: u32) -> bool {
        if metric == metric::PASSAGE {
            return self.says_passages();
        }
        match self {
            Format::CameraEvents | Format::SignalEvents | Format::TrafficPassages => false,
            Format::Chirpstack | Format::ThingsStack => lora::says(metric, interval_s),
            Format::Datex2 => datex2::says(metric, interval_s),
            Format::Digitraffic => digitraffic::says(metric, interval_s),
            Format::Dsmr => dsmr::says(metric, interval_s),
            Format::Influx => influx::says(metric, interval_s),
            Format::Ngsi => ngsi::says(metric, interval_s),
            Format::Pems30s => pems::samples::says(metric, interval_s),
            Format::Pems5min => pems::flows::says(metric, interval_s),
            Format::Plain => plain::says(metric),
            Format::Senml | Format::SenmlCbor => senml::says(metric, interval_s),
            Format::Sensorthings => sensorthings::says(metric, interval_s),
            Format::Shelly => shelly::says(metric, interval_s),
            Format::Sparkplug => sparkplug::says(metric, interval_s),
            Format::Tasmota => tasmota::says(metric, interval_s),
            Format::WaterRegisters => water_registers::says(metric, interval_s),
            Format::Wmbusmeters => wmbusmeters::says(metric, interval_s),
            Format::Zigbee2mqtt => zigbee2mqtt::says(metric, interval_s),
        }
    }

    fn says_passages(self) -> bool {
        matches!(self, Format::CameraEvents | Format::SignalEvents | Format::TrafficPassages)
    }

    /// Whether its payload keeps the time; else what is stored has the time of its receipt, which nobody knows before.
    pub fn keeps_time(self) -> bool {
        self != Format::Plain
    }

    /// Whether a message means the same without those before it. What ingest remembers of a sender depends on all of them.
    pub fn stands_alone(self) -> bool {
        !matches!(self, Format::Sparkplug | Format::Shelly)
    }

    /// Whether ingest numbers its passages, because nobody else does.
    pub fn has_no_event_ids(self) -> bool {
        matches!(self, Format::CameraEvents | Format::SignalEvents)
    }

    /// Whether a message's number can stand in its payload, as the first member: `"screenline":{...},`. It is found there
    /// whatever the mapping says, so in every JSON object, and in the first record of a SenML pack.
    pub fn carries_number(self) -> bool {
        match self {
            Format::CameraEvents
            | Format::Chirpstack
            | Format::Digitraffic
            | Format::Ngsi
            | Format::Senml
            | Format::Sensorthings
            | Format::Shelly
            | Format::Tasmota
            | Format::ThingsStack
            | Format::TrafficPassages
            | Format::WaterRegisters
            | Format::Wmbusmeters
            | Format::Zigbee2mqtt => true,
            Format::Datex2
            | Format::Dsmr
            | Format::Influx
            | Format::Pems30s
            | Format::Pems5min
            | Format::Plain
            | Format::SenmlCbor
            | Format::SignalEvents
            | Format::Sparkplug => false,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Format> for &'static str {
    fn from(format: Format) -> &'static str {
        format.name()
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(text: String) -> Result<Format, String> {
        text.parse()
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let known = Format::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| {
            let names = Format::ALL.map(Format::name).join(", ");
            format!("the format {text:?} is not known: {names}")
        })
    }
}

/// What one sensor says.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    Readings(&'a [Reading<'a>]),
    Passage(&'a Passage<'a>),
}

/// The messages by which `sensor` says it. What the format cannot say is left out.
///
/// `sequence` counts the messages that the sensor sent before: who calls adds as many as came back. Frame counters, uuids
/// and the numbers of Sparkplug follow from it; 0 begins a Sparkplug node's life anew, see [`sparkplug::births`].
/// `member` stands first in the first message's object, with a comma after it, or is empty; formats that carry no number
/// leave it out.
///
/// A device that speaks Shelly says all of its metrics each time: what it leaves out stands for an hour as it was said
/// before, and [`stored`] does not know of that.
pub fn say(format: Format, sensor: &str, sequence: u64, said: Said<'_>, member: &str) -> Vec<Utterance> {
    let speaker = Speaker { sensor, sequence, member };
    let readings = match said {
        Said::Readings(readings) => readings,
        Said::Passage(passage) => {
            return match format {
                Format::CameraEvents => vec![camera_events::say(speaker, passage)],
                Format::SignalEvents => vec![signal_events::say(sensor, passage)],
                Format::TrafficPassages => vec![passages::say(sensor, passage, member)],
                _ => Vec::new(),
            };
        }
    };
    match format {
        Format::CameraEvents | Format::SignalEvents | Format::TrafficPassages => Vec::new(),
        Format::Chirpstack => lora::say_chirpstack(speaker, readings),
        Format::Datex2 => datex2::say(speaker, readings),
        Format::Digitraffic => digitraffic::say(speaker, readings),
        Format::Dsmr => dsmr::say(speaker, readings),
        Format::Influx => influx::say(sensor, readings),
        Format::Ngsi => ngsi::say(speaker, readings),
        Format::Pems30s => pems::samples::say(sensor, readings),
        Format::Pems5min => pems::flows::say(sensor, readings),
        Format::Plain => plain::say(sensor, readings),
        Format::Senml => senml::say(speaker, readings),
        Format::SenmlCbor => senml_cbor::say(sensor, readings),
        Format::Sensorthings => sensorthings::say(speaker, readings),
        Format::Shelly => shelly::say(speaker, readings),
        Format::Sparkplug => sparkplug::say(speaker, readings),
        Format::Tasmota => tasmota::say(speaker, readings),
        Format::ThingsStack => lora::say_things_stack(speaker, readings),
        Format::WaterRegisters => water_registers::say(speaker, readings),
        Format::Wmbusmeters => wmbusmeters::say(speaker, readings),
        Format::Zigbee2mqtt => zigbee2mqtt::say(speaker, readings),
    }
}

/// What must stand in the tables for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub sensor: String,
    pub metric: String,
    /// Microseconds since 1970.
    pub time_us: i64,
    /// Of a passage; `None` where ingest makes one up by hashing, and of readings.
    pub event_id: Option<i64>,
    /// In `unit`; of a passage its speed in km/h, NaN where the format does not say it.
    pub value: f64,
    /// In which the series is kept. Of `influx` it is the reading's, which the registry must know.
    pub unit: String,
    /// Seconds; 0 of an instant, and where the mapping does not say it.
    pub interval_s: u32,
}

impl Stored {
    /// An instant of a metric of this module's, in its unit.
    fn instant(sensor: &str, metric: &str, time_us: i64, value: f64) -> Stored {
        let unit = metric::unit(metric).unwrap_or("1");
        Stored {
            sensor: sensor.to_owned(),
            metric: metric.to_owned(),
            time_us,
            event_id: None,
            value: value + 0.0,
            unit: unit.to_owned(),
            interval_s: 0,
        }
    }

    /// Its speed in km/h.
    fn passage(sensor: &str, time_us: i64, speed: f64) -> Stored {
        Stored::instant(sensor, metric::PASSAGE, time_us, speed).kept_in("{veh}")
    }

    fn over(self, interval_s: u32) -> Stored {
        Stored { interval_s, ..self }
    }

    fn kept_in(self, unit: &str) -> Stored {
        Stored { unit: unit.to_owned(), ..self }
    }
}

/// What ingest makes of it with the ready mapping, whatever else it is told: what [`say`] leaves out is left out here.
pub fn stored(format: Format, sensor: &str, said: Said<'_>) -> Vec<Stored> {
    let readings = match said {
        Said::Readings(readings) => readings,
        Said::Passage(passage) => {
            return match format {
                Format::CameraEvents => camera_events::stored(sensor, passage),
                Format::SignalEvents => signal_events::stored(sensor, passage),
                Format::TrafficPassages => passages::stored(sensor, passage),
                _ => Vec::new(),
            };
        }
    };
    match format {
        Format::CameraEvents | Format::SignalEvents | Format::TrafficPassages => Vec::new(),
        Format::Chirpstack | Format::ThingsStack => lora::stored(sensor, readings),
        Format::Datex2 => datex2::stored(sensor, readings),
        Format::Digitraffic => digitraffic::stored(sensor, readings),
        Format::Dsmr => dsmr::stored(sensor, readings),
        Format::Influx => influx::stored(sensor, readings),
        Format::Ngsi => ngsi::stored(sensor, readings),
        Format::Pems30s => pems::samples::stored(sensor, readings),
        Format::Pems5min => pems::flows::stored(sensor, readings),
        Format::Plain => plain::stored(sensor, readings),
        Format::Senml | Format::SenmlCbor => senml::stored(sensor, readings),
        Format::Sensorthings => sensorthings::stored(sensor, readings),
        Format::Shelly => shelly::stored(sensor, readings),
        Format::Sparkplug => sparkplug::stored(sensor, readings),
        Format::Tasmota => tasmota::stored(sensor, readings),
        Format::WaterRegisters => water_registers::stored(sensor, readings),
        Format::Wmbusmeters => wmbusmeters::stored(sensor, readings),
        Format::Zigbee2mqtt => zigbee2mqtt::stored(sensor, readings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_name() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("gossip".parse::<Format>().unwrap_err().contains("senml-cbor"));
    }
}
