//! The street from end to end: real broker, real database, real clients. A scenario's name is its promise.

mod account;
mod acknowledgement;
mod audit;
mod backpressure;
mod broker;
mod canary;
mod clocks;
mod contract;
mod crash;
mod erase;
mod forgetting;
mod gateway;
mod greed;
mod launcher;
mod ledger;
mod network;
mod outage;
mod rabbitmq;
mod reading;
mod refusal;
mod rejected;
mod resources;
mod retention;
mod sharing;
mod tidy;
mod trust;
