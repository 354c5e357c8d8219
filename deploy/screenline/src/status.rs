//! The live line of `demo`: what flows, and what does not.

use std::time::Duration;

use tokio::time::Instant;

use crate::{exposition, paper::thousands};

/// On a terminal the line is rewritten this often.
pub const REWRITE: Duration = Duration::from_millis(500);
/// Elsewhere it would fill a log.
pub const REPEAT: Duration = Duration::from_secs(5);

/// Remembers the last look, to say how fast things go.
#[derive(Debug)]
pub struct Status {
    received: f64,
    at: Instant,
}

impl Status {
    pub fn new(now: Instant) -> Self {
        Self { received: 0.0, at: now }
    }

    /// The line for a page of metrics, at a moment. A value that no service exports shows as `-`, not as zero.
    pub fn line(&mut self, page: &str, now: Instant) -> String {
        let value = |name: &str| exposition::total(page, name);
        let shown =
            |number: Option<f64>| number.map_or_else(|| "-".into(), |number| thousands(number as i64));
        let count = |name: &str| shown(value(name));
        let events = value("screenline_events_stored_total");
        // Ingest counts passages among the readings.
        let readings = value("screenline_readings_stored_total").map(|stored| stored - events.unwrap_or(0.0));
        let received = value("screenline_messages_received_total");
        let seconds = now.duration_since(self.at).as_secs_f64();
        let rate = match received {
            Some(received) if 0.0 < seconds => {
                // A restarted ingest counts from zero again.
                let since = if received < self.received { received } else { received - self.received };
                (self.received, self.at) = (received, now);
                thousands((since / seconds).round() as i64)
            }
            _ => "-".into(),
        };
        let lag =
            value("screenline_ingest_lag_seconds").map_or_else(|| "-".into(), |lag| format!("{lag:.1} s"));
        format!(
            "{rate} messages/s | {} readings and {} passages stored | lag {lag} | rejected {} | dirty {}",
            shown(readings),
            shown(events),
            count("screenline_messages_rejected_total"),
            count("screenline_dirty_marks"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_fast_and_how_much_and_never_makes_up_a_zero() {
        let start = Instant::now();
        let mut status = Status::new(start);
        let page = "screenline_messages_received_total{service=\"ingest\"} 3000\n\
            screenline_readings_stored_total 2999\nscreenline_events_stored_total 999\nscreenline_ingest_lag_seconds 0.25\n";
        assert_eq!(
            status.line(page, start + Duration::from_secs(2)),
            "1,500 messages/s | 2,000 readings and 999 passages stored | lag 0.2 s | rejected - | dirty -"
        );
        let restarted = "screenline_messages_received_total 10\n";
        assert!(status.line(restarted, start + Duration::from_secs(3)).starts_with("10 messages/s"));
        assert!(status.line("", start + Duration::from_secs(4)).starts_with("- messages/s"));
    }
}
