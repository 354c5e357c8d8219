//! The oracle: publishes what it makes up, writes down what it sent and what the broker took, and says afterwards whether
//! the tables hold exactly that. It shares the wire format and the names of the tables with Screenline, and no code.
//!
//! ```text
//! Load ──plan──> Plan ──publish──> broker        Ledger ──> Expectation ─┐
//!                            └──sent, taken──> Ledger    Tables ─────────┴─judge──> Report (I1 to I9)
//! ```

mod check;
mod expectation;
mod fact;
mod judge;
mod ledger;
mod load;
mod poison;
mod position;
mod publish;
pub mod rollup;
mod seen;
mod tables;
#[cfg(test)]
mod tests;
mod witness;

pub use check::{Oracle, Stand, every_rollup};
pub use expectation::{Claim, Expectation};
pub use fact::{Fact, Key, Shape};
pub use judge::{Finding, Report, part};
pub use ledger::{Entry, Ledger, Line};
pub use load::{Load, Message, Number, Numbers, Plan};
pub use poison::Refusal;
pub use publish::{Keep, Publisher};
pub use seen::{Period, Seen};
pub use tables::{COLUMNS, Listed, Name, Position, Rejection, Tables, Totals};
pub use witness::witness;
