//! The vocabulary of the street. Pure: no I/O and no clock in here (a test keeps it so).

pub mod arithmetic;
pub mod bucket;
pub mod class;
pub mod fixed;
pub mod message;
pub mod name;
pub mod passage;
pub mod plausible;
pub mod quality;
pub mod reading;
pub mod reason;
pub mod series;
pub mod span;
pub mod state;
pub mod time;
pub mod unit;
pub mod view;

pub use arithmetic::Arithmetic;
pub use bucket::Level;
pub use class::{Class, Kept};
pub use fixed::Fixed;
pub use message::{Batch, BatchId, First, Message, Number};
pub use name::{MetricName, SensorId};
pub use passage::Passage;
pub use quality::Quality;
pub use reading::{Event, Reading};
pub use reason::Reason;
pub use series::{Kind, Proposal, Series, SeriesId};
pub use span::Span;
pub use state::State;
pub use time::{Fold, Time};
pub use view::{Calibration, View};
