//! The street from end to end: real broker, real database, real clients. A scenario's name is its promise.

mod account;
mod backpressure;
mod broker;
mod contract;
mod crash;
mod launcher;
mod rabbitmq;
mod reading;
mod refusal;
mod tidy;
