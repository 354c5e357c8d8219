//! `screenline rejected show`: one rejection, and what would become of its message today.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;
use clap::Args;
use ingest::Intake;
use jiff::tz::TimeZone;
use processor::{
    model::{Batch, BatchId, Message, Quality},
    process::Processed,
    registry::{self, Registry},
    store::{Filter, Rejected, rejected::PAYLOAD_BYTES_MAX},
    street::Street,
};
use serde::Serialize;
use tokio_postgres::Client;

use super::{about, moment, open, redrive::street};
use crate::{
    database::DatabaseArgs,
    paper::{Paint, Table, count, printable, thousands},
};

/// Readings listed of a message; it may have 5,000.
const READINGS_LISTED_MAX: usize = 20;

#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Its number in the list
    #[arg(value_name = "ID")]
    id: i64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    intake: Intake,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl ShowArgs {
    pub fn database(&self) -> &DatabaseArgs {
        &self.database
    }
}

/// What today's mapping and registry make of a rejected message.
#[derive(Debug, Serialize)]
struct Today {
    readings: Vec<Found>,
    /// Readings that are not listed.
    more: usize,
    /// Series that would be registered.
    new_series: usize,
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Found {
    time: jiff::Timestamp,
    sensor: String,
    metric: String,
    /// Of an event: everything that was measured.
    value: String,
    unit: String,
    quality: i32,
}

#[derive(Debug, Serialize)]
struct Refused {
    reason: &'static str,
    detail: String,
}

pub async fn run(args: &ShowArgs, url: &str) -> anyhow::Result<()> {
    let (client, city) = open(url).await?;
    let filter = Filter { ids: vec![args.id], ..Filter::default() };
    let mut found = filter.page(&client, i64::MIN, 1, PAYLOAD_BYTES_MAX).await?;
    let rejected = found.pop().with_context(|| format!("there is no rejection {}", args.id))?;
    let today = match rejected.whole {
        true => {
            let street = street(&args.intake)?;
            Registry::refresh(&street.registry, &client).await?;
            Some(Today::of(&rejected, &street, &client).await?)
        }
        false => None,
    };
    if args.json {
        let mut json = about(&rejected);
        json["today"] = serde_json::to_value(&today)?;
        println!("{json}");
    } else {
        print!("{}", text(&rejected, today.as_ref(), Paint::of_stdout(), &city.time_zone));
    }
    Ok(())
}

impl Today {
    async fn of(rejected: &Rejected, street: &Street, client: &Client) -> anyhow::Result<Today> {
        let message = Message {
            topic: rejected.topic.clone(),
            payload: rejected.payload.clone().into(),
            received_at: rejected.received_at.into(),
            retained: rejected.retained,
            number: None,
        };
        let batch = Batch { id: BatchId(0), messages: vec![message], shed: 0 };
        let said = street.try_out(Arc::new(batch)).await;
        let names = names(&said, street, client).await?;
        let readings = said.readings.iter().map(|r| (r.time, r.series, r.value.to_string(), r.quality));
        let events = said.events.iter().map(|e| (e.time, e.series, e.passage.to_string(), e.quality));
        let all: Vec<_> = readings.chain(events).collect();
        let listed = all.iter().take(READINGS_LISTED_MAX).map(|(time, series, value, quality)| {
            let (sensor, metric, unit) = names.get(&series.0).cloned().unwrap_or_default();
            Found { time: time.timestamp(), sensor, metric, value: value.clone(), unit, quality: quality.0 }
        });
        let refused = said.rejections.iter();
        Ok(Today {
            readings: listed.collect(),
            more: all.len().saturating_sub(READINGS_LISTED_MAX),
            new_series: said.proposals.len(),
            refused: refused
                .map(|r| Refused { reason: r.reason.as_str(), detail: r.detail.clone() })
                .collect(),
        })
    }

    fn text(&self, paint: Paint, zone: &TimeZone) -> String {
        let all = (self.readings.len() + self.more) as i64;
        let mut text = String::new();
        for refused in &self.refused {
            text += &format!("  {} {}\n", paint.bad(refused.reason), printable(&refused.detail));
        }
        if all == 0 && self.refused.is_empty() {
            text += "  understood, and without a reading\n";
        }
        if all == 0 {
            return text;
        }
        let fit = count(all, "reading fits", "readings fit");
        let new = match self.new_series {
            0 => String::new(),
            new => format!(", {} would be registered", count(new as i64, "new series", "new series")),
        };
        text += &paint.good(&format!("  {fit}{new}\n"));
        let mut table = Table::new(paint, &["time", "sensor", "metric", ">value", "unit", ""]);
        for reading in &self.readings {
            table.row([
                moment(reading.time, zone),
                printable(&reading.sensor),
                reading.metric.clone(),
                printable(&reading.value),
                printable(&reading.unit),
                flags(Quality(reading.quality)),
            ]);
        }
        text += &table.text();
        if 0 < self.more {
            text += &paint.dim(&format!("  and {} more\n", thousands(self.more as i64)));
        }
        text
    }
}

/// Sensor, metric and unit of the series that were found, by their ids.
async fn names(
    said: &Processed,
    street: &Street,
    client: &Client,
) -> anyhow::Result<HashMap<i32, (String, String, String)>> {
    let mut ids: Vec<i32> =
        said.readings.iter().map(|r| r.series.0).chain(said.events.iter().map(|e| e.series.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    let select = "SELECT id, sensor, metric, unit FROM series WHERE id = ANY($1)";
    let rows = client.query(select, &[&ids]).await?;
    let mut names: HashMap<_, _> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect();
    let registry = registry::read(&street.registry);
    for new in &said.proposals {
        let (sensor, metric) = (new.sensor.as_str(), new.metric.as_str());
        if let Some(series) = registry.find(sensor, metric) {
            names.insert(series.id.0, (sensor.to_owned(), metric.to_owned(), series.unit.to_string()));
        }
    }
    Ok(names)
}

fn text(rejected: &Rejected, today: Option<&Today>, paint: Paint, zone: &TimeZone) -> String {
    let bytes = count(rejected.payload_bytes, "byte", "bytes");
    let mut text = paint.bold(&format!("Rejection {}", rejected.id)) + &format!(", {}\n", rejected.state);
    let mut line = |name: &str, value: String| text += &format!("  {name:<9} {value}\n");
    line("reason", paint.bad(&rejected.reason));
    line("detail", printable(&rejected.detail));
    line("topic", printable(&rejected.topic));
    line("source", printable(&rejected.source));
    line(
        "received",
        moment(rejected.received_at, zone) + if rejected.retained { ", retained by the broker" } else { "" },
    );
    if 0 < rejected.readings {
        line(
            "refused",
            count(i64::from(rejected.readings), "reading of the message", "readings of the message"),
        );
    }
    if let Some(settled) = rejected.settled_at {
        line("settled", moment(settled, zone));
    }
    if 0 < rejected.attempts {
        line(
            "attempts",
            format!("redriven {}, refused again", count(i64::from(rejected.attempts), "time", "times")),
        );
    }
    text += &paint.bold(&format!("\nPayload, {bytes}"));
    if rejected.payload.is_empty() && 0 < rejected.payload_bytes {
        text += ", dropped\n";
    } else if !rejected.whole {
        text += &format!(", of which the first {} were kept\n", thousands(rejected.payload.len() as i64));
    } else {
        text.push('\n');
    }
    text += &payload(&rejected.payload);
    match today {
        Some(today) => text + &paint.bold("\nToday\n") + &today.text(paint, zone),
        None => {
            text + &paint.dim("\nIt cannot be processed again: its payload or topic was not kept whole.\n")
        }
    }
}

/// As text where it is one that a terminal may show, else in hexadecimal digits.
fn payload(bytes: &[u8]) -> String {
    let is_shown = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
    match str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_shown) => text.lines().map(|line| format!("  {line}\n")).collect(),
        _ => hexdump(bytes),
    }
}

fn hexdump(bytes: &[u8]) -> String {
    let line = |(i, row): (usize, &[u8])| {
        let digits: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters = row
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' });
        format!("  {:08x}  {:<47}  |{}|\n", i * 16, digits.join(" "), letters.collect::<String>())
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

/// What is known against a reading, in words.
fn flags(quality: Quality) -> String {
    const NAMES: [(Quality, &str); 7] = [
        (Quality::SOURCE_BAD, "called bad by its source"),
        (Quality::LATE, "late"),
        (Quality::TIME_SUBSTITUTED, "time of receipt"),
        (Quality::CLOCK_SKEW, "clock skew"),
        (Quality::OUT_OF_RANGE, "out of range"),
        (Quality::IMPLAUSIBLE, "implausible"),
        (Quality::STUCK, "stuck"),
    ];
    let raised = NAMES.into_iter().filter(|(flag, _)| quality.intersects(*flag)).map(|(_, name)| name);
    raised.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_without_harm_to_the_terminal() {
        assert_eq!(payload(b"{\"v\":1}"), "  {\"v\":1}\n");
        let dump = payload(b"\x1b[2J and more than sixteen bytes");
        assert_eq!(
            dump.lines().next().unwrap(),
            "  00000000  1b 5b 32 4a 20 61 6e 64 20 6d 6f 72 65 20 74 68  |.[2J and more th|"
        );
        assert!(!dump.contains('\x1b'));
    }
}
