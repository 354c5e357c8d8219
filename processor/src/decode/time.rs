//! Times as sensors write them.

use jiff::{Timestamp, civil::DateTime, fmt::strtime};

use super::Json;
use crate::{
    mapping::TimeFormat,
    model::{Fold, Time},
};

/// The time and, where the text is an interval of two, how many microseconds before it the interval began.
pub(super) fn parse(node: &Json<'_>, format: &TimeFormat) -> Option<(Time, Option<i64>)> {
    match (format, node) {
        (TimeFormat::Unix { micros }, node) => unix(node, *micros).map(|time| (time, None)),
        (TimeFormat::Strptime { pattern, zone, fold }, Json::Text(text)) => {
            let broken = strtime::parse(pattern, text.as_ref()).ok()?;
            if let Ok(timestamp) = broken.to_timestamp() {
                return Some((timestamp.into(), None));
            }
            let civil =
                broken.to_datetime().or_else(|_| Ok::<_, jiff::Error>(broken.to_date()?.into())).ok()?;
            fold.resolve(civil, zone).map(|time| (time, None))
        }
        (TimeFormat::Dsmr { zone }, Json::Text(text)) => {
            let (digits, season) = text.split_at_checked(12)?;
            let fold = match season {
                "S" => Fold::Earlier,
                "W" => Fold::Later,
                _ => return None,
            };
            let civil =
                strtime::parse("%y%m%d%H%M%S", digits).and_then(|broken| broken.to_datetime()).ok()?;
            fold.resolve(civil, zone).map(|time| (time, None))
        }
        (format, Json::Text(text)) => {
            let one = |text: &str| match format {
                TimeFormat::Local { zone, fold } => text
                    .parse::<Timestamp>()
                    .map(Time::from)
                    .ok()
                    .or_else(|| fold.resolve(text.parse::<DateTime>().ok()?, zone)),
                _ => text.parse::<Timestamp>().ok().map(Time::from),
            };
            match text.split_once('/') {
                None => one(text).map(|time| (time, None)),
                Some((start, end)) => {
                    let (start, end) = (one(start)?, one(end)?);
                    (start <= end).then(|| (end, Some(end.micros() - start.micros())))
                }
            }
        }
        _ => None,
    }
}

fn unix(node: &Json<'_>, micros: f64) -> Option<Time> {
    match node {
        Json::Int(value) if micros >= 1.0 => value.checked_mul(micros as i64).map(Time::from_micros),
        Json::Int(value) => Some(Time::from_micros(value / 1_000)), // nanoseconds
        Json::Text(text) => match text.trim().parse::<i64>() {
            Ok(value) => unix(&Json::Int(value), micros),
            Err(_) => unix(&Json::Float(text.trim().parse().ok()?), micros),
        },
        node => Time::from_seconds(node.as_f64()? * (micros / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn check(text: &str, format: &TimeFormat, expected: Option<&str>) {
        let time = parse(&Json::Text(text.into()), format).map(|(time, _)| time.to_string());
        assert_eq!(time.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_read_in_every_spelling() {
        let zone = TimeZone::get("Europe/Amsterdam").unwrap();
        let local = TimeFormat::Local { zone: zone.clone(), fold: Fold::Earlier };
        check("2024-07-01T12:00:00", &local, Some("2024-07-01T10:00:00Z"));
        check("2024-07-01T12:00:00Z", &local, Some("2024-07-01T12:00:00Z"));
        check("2016-12-07T11:10:00/2016-12-07T11:15:00", &local, Some("2016-12-07T10:15:00Z"));
        let dsmr = TimeFormat::Dsmr { zone: zone.clone() };
        check("170102192002W", &dsmr, Some("2017-01-02T18:20:02Z"));
        check("241027023000S", &dsmr, Some("2024-10-27T00:30:00Z"));
        check("241027023000W", &dsmr, Some("2024-10-27T01:30:00Z"));
        check("170102192002", &dsmr, None);
        let slashed = TimeFormat::Strptime { pattern: "%d/%m/%Y %H:%M".to_owned(), zone, fold: Fold::Reject };
        check("04/01/2016 0:05", &slashed, Some("2016-01-03T23:05:00Z"));
        check("soon", &slashed, None);
        let seconds = TimeFormat::Unix { micros: 1e6 };
        check("1667970000", &seconds, Some("2022-11-09T05:00:00Z"));
        check("1667970000.25", &seconds, Some("2022-11-09T05:00:00.25Z"));
    }

    #[test]
    fn an_interval_ends_at_its_time() {
        let text = Json::Text("2016-12-07T11:10:00Z/2016-12-07T11:15:00Z".into());
        let (time, span) = parse(&text, &TimeFormat::Rfc3339).unwrap();
        assert_eq!((time.to_string().as_str(), span), ("2016-12-07T11:15:00Z", Some(300_000_000)));
        assert_eq!(parse(&Json::Text("2016-12-07T11:10:00Z/x".into()), &TimeFormat::Rfc3339), None);
    }
}
