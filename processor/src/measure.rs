//! What the numbers mean: the measures of traffic and utilities, from the states of buckets. All but the last five are pure;
//! formulas, units, sources and edge cases stand at each function.
//!
//! - [`steps`]: buckets in a row, of any width or of whole local days
//! - [`settle`]: buckets of any width from stored states, their borders settled with their neighbours
//! - [`traffic`]: volume, speeds, density, peak hour, annual averages, level of service, queues, incidents
//! - [`station`]: the detectors across a road at one place, and what they say together
//! - [`road`]: stations on segments, what a segment did, bottlenecks and the queues behind them
//! - [`sensor`]: what a single detector says, and what a meter counts
//! - [`typical`]: what detectors say together on a usual day
//! - [`utility`]: registers, demand, power factor, night flow, water balance, gas
//! - [`demand`]: peaks of local days
//! - [`zone`]: the balance and the nights of a zone of meters
//! - [`impute`]: estimates of what was not observed
//! - [`detector`]: what is wrong with a detector, by the published thresholds
//! - [`history`], [`network`], [`balance`], [`night`], [`health`]: what the tables know of series, of roads and zones, of
//!   what was used by day and flowed by night, and what needs a visit

pub mod balance;
pub mod demand;
pub mod detector;
pub mod health;
pub mod history;
pub mod impute;
pub mod network;
pub mod night;
pub mod road;
pub mod sensor;
pub mod settle;
pub mod station;
pub mod steps;
pub mod traffic;
pub mod typical;
pub mod utility;
pub mod zone;

pub use settle::{Settled, settle};
pub use steps::{Steps, Width};
