//! The city's processes: started, watched, restarted, stopped in order, and found again after a crash.

pub mod binaries;
pub mod child;
pub mod data_folder;
pub mod identity;
pub mod leftover;
pub mod logins;
pub mod mosquitto;
pub mod output;
pub mod postgres;
pub mod stale;
