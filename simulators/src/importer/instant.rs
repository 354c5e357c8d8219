//! SUMO's instantaneous induction loops: one passage for each vehicle that entered and left a loop.
//!
//! The entry is the time of `enter`, the time over the loop the difference to `leave` (its `occupancy`, where it has
//! one), the speed and the length are those of `leave`, else of `enter`. A vehicle that left and never entered changed
//! onto the lane over the loop; one that entered and never left changed off it, or the simulation ended: both are left
//! out and counted. `stay` says nothing new.

use std::collections::HashMap;

use anyhow::{bail, ensure};

use super::{
    class::class,
    clock::seconds,
    input::Text,
    number,
    sink::{Sink, vehicle},
    xml,
};
use crate::observation::{Decimal, Passage};

/// Vehicles over loops at one time; more are vehicles that never leave, and each costs some 200 bytes.
const OVER_LOOPS_MAX: usize = 1_000_000;

struct Entered {
    time_us: i64,
    speed: Option<Decimal>,
    length: Option<Decimal>,
}

/// # Errors
/// The line that is wrong, or there is no event.
pub fn read(text: Text, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut over: HashMap<(String, String), Entered> = HashMap::new();
    let mut events = 0u64;
    xml::elements(text, |element| {
        if !element.is("instantOut") {
            return Ok(());
        }
        events += 1;
        let (id, name) = (element.due("id")?, element.due("vehID")?);
        let time_us = sink.at(seconds(&element.due("time")?)?)?;
        let positive = |name: &str| anyhow::Ok(element.number(name)?.filter(|number| 0 <= number.digits));
        let (speed, length) = (positive("speed")?, positive("length")?);
        match element.due("state")?.as_str() {
            "enter" => {
                ensure!(
                    over.len() < OVER_LOOPS_MAX,
                    "more than {OVER_LOOPS_MAX} vehicles that entered and never left"
                );
                if over.insert((id, name), Entered { time_us, speed, length }).is_some() {
                    sink.leave_out("vehicles that entered twice and left once");
                }
            }
            "leave" => {
                let kind = element.text("type")?;
                let number = vehicle(&name);
                let key = (id, name);
                let Some(entered) = over.remove(&key) else {
                    sink.leave_out("vehicles that left and never entered (a lane change onto the loop)");
                    return Ok(());
                };
                let on_time = match positive("occupancy")? {
                    Some(occupancy) => occupancy,
                    None => Decimal::new((time_us - entered.time_us).max(0), 6),
                };
                let (Some(speed), Some(length)) = (speed.or(entered.speed), length.or(entered.length)) else {
                    bail!("vehicle {} has no speed or no length", key.1);
                };
                let class = &class(kind.as_deref().unwrap_or_default());
                let passage =
                    Passage { vehicle: number, time_us: entered.time_us, class, on_time, speed, length };
                sink.passage(&key.0, passage)?;
            }
            "stay" => {}
            other => bail!("state {other:?}: enter, stay or leave is due"),
        }
        Ok(())
    })?;
    for _ in over {
        sink.leave_out("vehicles that entered and never left (a lane change off the loop, or the end)");
    }
    ensure!(0 < events, "it has no <instantOut>: is it the output of instantaneous induction loops?");
    Ok(())
}

/// When a passage is over, as its detector would report it, in microseconds since 1970.
pub fn left_us(passage: &Passage<'_>) -> i64 {
    passage.time_us.saturating_add(number::micros(passage.on_time).unwrap_or(0))
}
