//! The street from end to end: real broker, real database, real clients. A scenario's name is its promise.

mod account;
mod audit;
mod backpressure;
mod broker;
mod contract;
mod crash;
mod erase;
mod launcher;
mod rabbitmq;
mod reading;
mod refusal;
mod retention;
mod tidy;
