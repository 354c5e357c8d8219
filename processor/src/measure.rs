//! What the numbers mean: the measures of traffic and utilities, from the states of buckets. The first four are pure; formulas, units,
//! sources and edge cases stand at each function.
//!
//! - [`settle`]: buckets of any width from stored states, their borders settled with their neighbours
//! - [`traffic`]: volume, speeds, density, peak hour, annual averages, level of service, queues, incidents
//! - [`utility`]: registers, demand, power factor, night flow, water balance, gas
//! - [`detector`]: what is wrong with a detector, by the published thresholds
//! - [`history`], [`health`]: what the tables know of a series, and what needs a visit

pub mod detector;
pub mod health;
pub mod history;
pub mod settle;
pub mod traffic;
pub mod utility;

pub use settle::{Settled, settle};
