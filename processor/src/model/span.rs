use std::{fmt, str::FromStr, time::Duration};

/// How long something lasts, as an operator says it: `13mo`, `400d`, `12h`, `30m`, or without an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    Lasting(Duration),
    /// `forever`, or `unlimited`.
    Forever,
}

/// A month is its longest here, so that 13 months are never less than those of a calendar.
const UNITS: [(&str, u64); 5] =
    [("y", 366 * 86_400), ("mo", 31 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60)];

impl Span {
    pub const fn days(days: u64) -> Span {
        Span::Lasting(Duration::from_secs(days * 86_400))
    }

    /// `None` where it has no end.
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Span::Lasting(duration) => Some(duration),
            Span::Forever => None,
        }
    }

    pub fn is_shorter_than(self, other: Span) -> bool {
        match (self.duration(), other.duration()) {
            (Some(this), Some(other)) => this < other,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if ["forever", "unlimited"].contains(&text) {
            return Ok(Span::Forever);
        }
        let seconds = UNITS.into_iter().find_map(|(suffix, seconds)| {
            let number: u64 = text.strip_suffix(suffix)?.parse().ok()?;
            (0 < number).then(|| number.checked_mul(seconds)).flatten()
        });
        match seconds {
            Some(seconds) => Ok(Span::Lasting(Duration::from_secs(seconds))),
            None => Err(format!("{text:?} is no span such as 13mo, 400d, 12h or 30m, nor \"forever\"")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span::Lasting(duration) = self else { return f.write_str("forever") };
        let seconds = duration.as_secs();
        match UNITS.into_iter().find(|(_, unit)| seconds.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", seconds / unit),
            None => write!(f, "{duration:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_or_refused() {
        assert_eq!("35d".parse(), Ok(Span::days(35)));
        assert_eq!("13mo".parse(), Ok(Span::days(403)));
        assert_eq!("unlimited".parse(), Ok(Span::Forever));
        for text in ["13mo", "400d", "12h", "30m", "5y", "forever"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for wrong in ["", "d", "0d", "5", "-3d", "5 days", "99999999999999999999d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_longer_than_for_ever() {
        assert!(Span::days(400).is_shorter_than("13mo".parse().unwrap()));
        assert!(Span::days(1).is_shorter_than(Span::Forever));
        assert!(!Span::Forever.is_shorter_than(Span::Forever));
    }
}
