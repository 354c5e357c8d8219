//! What the time of a reading says of it. Its range is its series' view; checks that need its neighbours are the roller's.

use std::time::Duration;

use crate::{
    decode::{self, Limits},
    model::{Message, Number, Quality, Reason, Series, Span, Time, reason::Refusal},
};

/// How old a reading may be at its receipt, where nothing else is said: less than readings are kept.
pub const LATENESS_HORIZON: Span = Span::days(400);

/// What the city asks of a reading's time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// Readings older than this at their receipt are refused; `None` takes any since 2000.
    pub lateness_horizon: Option<Duration>,
    /// Readings older than this at their receipt are stored and flagged late.
    pub late_after: Duration,
    /// Believe a message's number only below the topics of the gateway that counts: where logins guard those topics,
    /// nobody else can make a gateway forget what we do not have.
    pub numbers_below_gateway_only: bool,
    /// What one message may hold.
    pub limits: Limits,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            lateness_horizon: LATENESS_HORIZON.duration(),
            late_after: Duration::from_secs(15 * 60),
            numbers_below_gateway_only: false,
            limits: Limits::default(),
        }
    }
}

/// How far a clock may run ahead.
pub const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// The flags that a reading's time earns it.
///
/// # Errors
/// `Before2000`, `Future` or `TooLate`.
pub fn time(time: Time, received_at: Time, rules: &Rules) -> Result<Quality, Refusal> {
    let refuse = |reason, limit: Time| {
        Err(Refusal::new(reason, format!("{time} received at {received_at}, the limit is {limit}")))
    };
    let latest = received_at.plus(AHEAD_MAX);
    if time < Time::YEAR_2000 {
        return refuse(Reason::Before2000, Time::YEAR_2000);
    }
    if latest < time {
        return refuse(Reason::Future, latest);
    }
    let horizon = rules.lateness_horizon.map(|horizon| received_at.minus(horizon));
    if let Some(oldest) = horizon
        && time < oldest
    {
        return refuse(Reason::TooLate, oldest);
    }
    Ok(if time < received_at.minus(rules.late_after) { Quality::LATE } else { Quality::GOOD })
}

/// A bucket before the floor lacks readings that were dropped: to compute it again would overwrite history.
///
/// # Errors
/// `TooLate`.
pub fn floor(bucket_time: Time, floor: Option<Time>) -> Result<(), Refusal> {
    match floor {
        Some(floor) if bucket_time < floor => {
            Err(Refusal::new(Reason::TooLate, format!("{bucket_time}, readings before {floor} were dropped")))
        }
        _ => Ok(()),
    }
}

/// The number of a message, where it may be believed.
///
/// # Errors
/// `SourceMismatch`: below one gateway's topics another one counts.
pub fn number(number: Option<Number>, message: &Message, rules: &Rules) -> Result<Option<Number>, Refusal> {
    let Some(number) = number else { return Ok(None) };
    match decode::gateway(&message.topic).0 {
        Some(gateway) if *gateway != *number.source => {
            let detail = format!("numbered by {}, below the topics of gateway {gateway}", number.source);
            Err(Refusal::new(Reason::SourceMismatch, detail))
        }
        Some(_) => Ok(Some(number)),
        None => Ok((!rules.numbers_below_gateway_only).then_some(number)),
    }
}

/// The flag of a reading that speaks of less time than its series' interval, by more than a tenth.
pub fn span(sent_s: Option<u32>, series: &Series) -> Quality {
    match (sent_s, series.interval_s) {
        (Some(sent), Some(due))
            if u64::from(sent) * 10 < u64::from(due) * 9 && series.kind.covers_interval() =>
        {
            Quality::PARTIAL
        }
        _ => Quality::GOOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_refused_at_their_limits_and_not_before() {
        let now = Time::from_micros(1_700_000_000_000_000);
        let rules = Rules::default();
        let check = |at: Time| time(at, now, &rules).map_err(|refusal| refusal.reason);
        assert_eq!(check(now.plus(AHEAD_MAX)), Ok(Quality::GOOD));
        assert_eq!(check(now.plus(AHEAD_MAX).plus(Duration::from_micros(1))), Err(Reason::Future));
        assert_eq!(check(now.minus(rules.late_after)), Ok(Quality::GOOD));
        assert_eq!(check(now.minus(Duration::from_secs(86_400))), Ok(Quality::LATE));
        assert_eq!(check(now.minus(Duration::from_secs(401 * 86_400))), Err(Reason::TooLate));
        assert_eq!(check(Time::from_micros(0)), Err(Reason::Before2000));
        let unlimited = Rules { lateness_horizon: None, ..rules };
        assert_eq!(time(Time::YEAR_2000, now, &unlimited), Ok(Quality::LATE));
        assert_eq!(floor(now, Some(now)), Ok(()));
        assert_eq!(
            floor(now.minus(Duration::from_micros(1)), Some(now)).unwrap_err().reason,
            Reason::TooLate
        );
    }
}
