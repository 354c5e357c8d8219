//! Passages as CSV, one line each: `detector_id,veh_id,veh_type,t_enter_s,t_leave_s,speed_mps,length_m`, in any order of
//! columns.

use anyhow::{Context, ensure};

use super::{
    class::class,
    clock::seconds,
    input::Text,
    number,
    sink::{Sink, vehicle},
};
use crate::observation::{Decimal, Passage};

const COLUMNS: [&str; 7] =
    ["detector_id", "veh_id", "veh_type", "t_enter_s", "t_leave_s", "speed_mps", "length_m"];

/// # Errors
/// The line that is wrong, or a column that is missing.
pub fn read(text: Text, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.of_cells());
    let head = reader.headers()?.clone();
    let mut at = [0; COLUMNS.len()];
    for (at, name) in at.iter_mut().zip(COLUMNS) {
        let found = head.iter().position(|column| column.trim_start_matches('\u{feff}') == name);
        *at = found.with_context(|| format!("line 1: no column {name:?}; due are {}", COLUMNS.join(", ")))?;
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        passage(&record, at, sink).with_context(|| format!("line {line}"))?;
    }
    Ok(())
}

fn passage(record: &csv::StringRecord, at: [usize; 7], sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let [detector, name, kind, enter, leave, speed, length] = at.map(|at| record.get(at).unwrap_or_default());
    if leave.is_empty() {
        sink.leave_out("vehicles that entered and never left");
        return Ok(());
    }
    let (enter, leave) = (seconds(enter)?, seconds(leave)?);
    let time_us = sink.at(enter)?;
    let on_us = sink.at(leave)? - time_us;
    ensure!(0 <= on_us, "it left at {leave} s, before it entered at {enter} s");
    let passage = Passage {
        vehicle: vehicle(name),
        time_us,
        class: &class(kind),
        on_time: on_time(on_us),
        speed: number::decimal(speed).context("speed_mps")?,
        length: number::decimal(length).context("length_m")?,
    };
    sink.passage(detector, passage)
}

/// In milliseconds where that is all.
pub fn on_time(on_us: i64) -> Decimal {
    if on_us % 1_000 == 0 { Decimal::new(on_us / 1_000, 3) } else { Decimal::new(on_us, 6) }
}
