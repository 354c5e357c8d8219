use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Time;

/// The values that a sender which reports only changes sent last.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Held {
    /// By sensor and metric, with a space between them: when, in microseconds, and what.
    values: BTreeMap<String, (i64, f64)>,
}

/// More metrics than one device reports; a sender that invents names is not remembered.
const VALUES_MAX: usize = 256;

impl Held {
    /// What stood at a time, if it was sent at most so many microseconds before.
    pub fn get(&self, sensor: &str, metric: &str, at: Time, micros: i64) -> Option<f64> {
        let (sent, value) = self.values.get(&key(sensor, metric))?;
        // A value sent later says nothing of this time: a message that is delivered again must say what it said.
        (*sent <= at.micros() && at.micros() - sent <= micros).then_some(*value)
    }

    pub fn put(&mut self, sensor: &str, metric: &str, at: Time, value: f64) {
        let key = key(sensor, metric);
        let room = self.values.len() < VALUES_MAX;
        match self.values.get_mut(&key) {
            Some(known) if known.0 <= at.micros() => *known = (at.micros(), value),
            Some(_) => {}
            None if room => drop(self.values.insert(key, (at.micros(), value))),
            None => {}
        }
    }
}

fn key(sensor: &str, metric: &str) -> String {
    format!("{sensor} {metric}")
}
