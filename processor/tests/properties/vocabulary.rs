//! Names, units, spans and buckets: what is taken is what was written, and nothing else is taken.

use jiff::tz::TimeZone;
use processor::model::{Class, Level, MetricName, Number, SensorId, Span, Time, bucket::FIVE_MINUTES, unit};
use proptest::{prelude::*, sample::select};

/// Some of each quantity; two of a quantity convert into each other.
const UNITS: [(&str, &str); 14] = [
    ("km/h", "speed"),
    ("m/s", "speed"),
    ("[mi_i]/h", "speed"),
    ("%", "ratio"),
    ("1", "ratio"),
    ("L", "volume"),
    ("m3", "volume"),
    ("L/s", "flow"),
    ("m3/h", "flow"),
    ("Cel", "temperature"),
    ("K", "temperature"),
    ("[degF]", "temperature"),
    ("kPa", "pressure"),
    ("bar", "pressure"),
];

/// With days of 23, 24 and 25 hours, half hours, midnights that are skipped or come twice, and a day that never was.
const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Paris",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Caracas",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
];

/// Some instants, in seconds, at which clocks change there.
const CHANGES: [i64; 8] = [
    1_521_939_600, // Paris, spring
    1_541_300_400, // Sao Paulo skips midnight
    1_518_919_200, // Sao Paulo repeats the hour before midnight
    1_541_307_600, // Havana repeats the hour after midnight
    1_325_239_200, // Apia skips 30 December 2011
    1_554_562_800, // Lord Howe, half an hour
    1_439_564_400, // Pyongyang, half an hour before midnight twice
    1_197_183_600, // Caracas, half an hour
];

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9._:/@=+~%,;#&-]{0,140}", "\\PC{0,30}", any::<String>()]
}

/// An instant of this century, often one close to a change of clocks.
fn instant() -> impl Strategy<Value = Time> {
    let near = (select(&CHANGES[..]), -90_000..90_000i64).prop_map(|(change, aside)| change + aside);
    let seconds = prop_oneof![near, 946_684_800..4_102_444_800i64];
    (seconds, 0..1_000_000i64).prop_map(|(seconds, micros)| Time::from_micros(seconds * 1_000_000 + micros))
}

proptest! {
    #[test]
    fn a_name_is_kept_as_it_was_written(text in words()) {
        if let Ok(sensor) = text.parse::<SensorId>() {
            prop_assert_eq!(sensor.as_str(), &text);
            let quoting = text.contains(['\0', '\'', '"', '\\', ' ', '\n', '{', '}']);
            prop_assert!(text.chars().count() <= 128 && !quoting);
        }
        if let Ok(metric) = text.parse::<MetricName>() {
            prop_assert_eq!(metric.as_str(), &text);
            prop_assert!(text.is_ascii() && text.len() <= 64 && text.parse::<SensorId>().is_ok());
        }
        if let Some(number) = Number::new(&text, 0, 1) {
            // Its acknowledgements have a topic of their own.
            prop_assert!(*number.source == *text && text.parse::<SensorId>().is_ok());
            prop_assert!(!text.contains(['/', '+', '#']) && text.len() <= 64);
        }
    }

    #[test]
    fn a_number_is_taken_in_its_range_alone(epoch in any::<i64>(), seq in any::<i64>()) {
        prop_assert_eq!(Number::new("north", epoch, seq).is_some(), 0 <= epoch && 1 <= seq && seq < 1 << 62);
    }

    #[test]
    fn units_of_one_quantity_convert_there_and_back(
        (from, to, over) in (select(&UNITS[..]), select(&UNITS[..]), select(&UNITS[..])),
        value in -1e6..1e6f64,
    ) {
        let conversion = unit::conversion(from.0, to.0);
        prop_assert_eq!(conversion.is_some(), from.1 == to.1);
        let (Some(there), Some(back)) = (conversion, unit::conversion(to.0, from.0)) else { return Ok(()) };
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs());
        prop_assert!(close(back.apply(there.apply(value)), value));
        if let (Some(first), Some(second)) = (unit::conversion(from.0, over.0), unit::conversion(over.0, to.0)) {
            prop_assert!(close(second.apply(first.apply(value)), there.apply(value)));
        }
    }

    #[test]
    fn an_unknown_unit_is_only_itself(text in words(), known in select(&UNITS[..])) {
        let same = unit::conversion(&text, &text).map(|conversion| conversion.apply(7.25));
        prop_assert_eq!(same, Some(7.25));
        if let Some(conversion) = unit::conversion(&text, known.0) {
            prop_assert!(conversion.scale.is_normal() && conversion.offset.is_finite());
        }
    }

    #[test]
    fn a_span_and_a_class_are_read_as_they_are_written(text in prop_oneof![words(), "[0-9]{1,20}(y|mo|d|h|m|s)", "[a-z_0-9]{1,9}(:[a-z.]{0,5}\\*)?"]) {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        if let Ok(class) = text.parse::<Class>() {
            prop_assert_eq!(class.to_string(), text);
        }
    }

    #[test]
    fn seconds_become_the_nearest_microsecond_or_no_time(seconds in prop_oneof![any::<f64>(), -1e12..1e12f64]) {
        match Time::from_seconds(seconds) {
            Some(time) => prop_assert!((time.micros() as f64 / 1e6 - seconds).abs() <= 1e-6 + seconds.abs() * 1e-15),
            None => prop_assert!(!(-3e11..2.5e11).contains(&seconds)),
        }
    }

    #[test]
    fn buckets_tile_time_in_every_zone(zone in select(&ZONES[..]), time in instant()) {
        let zone = TimeZone::get(zone).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for level in Level::ALL {
            let start = level.start(time, &zone);
            let end = level.end(start, &zone);
            prop_assert!(start <= time && time < end, "{:?} of {} is {} to {}", level, time, start, end);
            prop_assert_eq!(level.start(start, &zone), start);
            prop_assert_eq!(level.start(end, &zone), end);
            prop_assert_eq!(level.start(Time::from_micros(end.micros() - 1), &zone), start);
            prop_assert_eq!(start.floor(FIVE_MINUTES), start, "made of whole five-minute buckets");
        }
    }
}
