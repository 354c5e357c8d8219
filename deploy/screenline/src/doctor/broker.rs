//! The broker: what it says of itself, and what it does with a few messages.

use ingest::{
    address::{Access, Address},
    canary::{self, Depth},
    config::Protocol,
};

use super::Check;
use crate::supervisor::mosquitto::setting;

/// What a private broker would be.
pub fn private() -> Check {
    Check::fine(
        "broker",
        format!(
            "private; packets up to {} bytes, {} messages in flight, {} bytes queued, then drops; saved every second \
             and at the end",
            setting("max_packet_size"),
            setting("max_inflight_messages"),
            setting("max_queued_bytes")
        ),
    )
}

/// Entrusts messages to it and looks what comes back.
pub async fn given(url: &str, access: &Access) -> Vec<Check> {
    let hint = "check --broker-url, the login and the certificates, and that the broker runs";
    let wrong = |problem: String| vec![Check::wrong("broker", "no answer", problem, hint)];
    let address = match Address::parse(url, access) {
        Ok(address) => address,
        Err(error) => return wrong(format!("{error:#}")),
    };
    let report = match canary::look(&address, Protocol::Auto, Depth::Full).await {
        Ok(report) => report,
        Err(lost) => return wrong(lost.to_string()),
    };
    let mut checks = vec![Check::fine("broker", address.to_string())];
    checks.extend(report.facts.into_iter().map(|fact| Check::fine("broker", fact)));
    let findings = report.refusal.into_iter().chain(report.warnings);
    checks.extend(findings.map(|found| Check::wrong("broker", "not fit", found.problem, found.advice)));
    checks.push(Check::fine(
        "broker's crash",
        "what it loses then cannot be asked: the README has figures for mosquitto and RabbitMQ",
    ));
    checks
}
