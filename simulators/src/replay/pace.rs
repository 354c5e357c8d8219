//! When a message is due.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The wall clock may be set while we wait for it, so we look again.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// How fast time passes in a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the broker acknowledges.
    Max,
    /// Recorded seconds in a second; positive and finite.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    /// `max`, or a factor such as `60x`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(times) if 0.0 < times && times.is_finite() => Ok(Speed::Times(times)),
            _ => Err("`max`, or a factor above 0 such as 60x".to_owned()),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Max => f.write_str("max"),
            Speed::Times(times) => write!(f, "{times}x"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    Max,
    /// `first` is due at `start`, the others after it at so many recorded seconds in a second.
    From {
        start: Instant,
        first: Timestamp,
        /// What the rounds before this one took, in recorded seconds.
        before_s: i64,
        times: f64,
    },
    /// When the wall clock shows the message's moved time.
    Clock,
}

impl Pace {
    /// How long until a message is due; `None` when it is.
    pub(super) fn wait(self, t: Timestamp, moved_s: i64) -> Option<Duration> {
        let wait = match self {
            Pace::Max => return None,
            Pace::From { start, first, before_s, times } => {
                let offset_s = (t.duration_since(first).as_secs_f64() + before_s as f64) / times;
                // Beyond a century the clock's own range ends; the wait is cut by CLOCK_LOOK anyway.
                let due = start + Duration::from_secs_f64(offset_s.clamp(0.0, 3.2e9));
                due.checked_duration_since(Instant::now())?
            }
            Pace::Clock => {
                let due = t.saturating_add(SignedDuration::from_secs(moved_s)).ok()?;
                Duration::try_from(due.duration_since(Timestamp::now())).ok()?
            }
        };
        (!wait.is_zero()).then(|| wait.min(CLOCK_LOOK))
    }
}
