use std::ops::{BitOr, BitOrAssign};

/// What is known against a reading, as a set of bits; 0 is good.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Quality(pub i32);

impl Quality {
    pub const GOOD: Quality = Quality(0);
    /// The source itself called the value bad.
    pub const SOURCE_BAD: Quality = Quality(1 << 0);
    /// The source itself doubts the value.
    pub const SOURCE_UNCERTAIN: Quality = Quality(1 << 1);
    /// The source had lost what it measures and repeats its last value.
    pub const STALE: Quality = Quality(1 << 2);
    /// Sent after its time from the source's own memory.
    pub const HISTORICAL: Quality = Quality(1 << 3);
    /// Received later after its time than the city calls punctual; depends on when it was received.
    pub const LATE: Quality = Quality(1 << 4);
    /// The payload had no usable time: the time of receipt stands in.
    pub const TIME_SUBSTITUTED: Quality = Quality(1 << 5);
    pub const CLOCK_SKEW: Quality = Quality(1 << 6);
    /// Outside the series' minimum and maximum.
    pub const OUT_OF_RANGE: Quality = Quality(1 << 7);
    pub const IMPLAUSIBLE: Quality = Quality(1 << 8);
    pub const STUCK: Quality = Quality(1 << 9);
    /// Speaks of less time than its series' interval.
    pub const PARTIAL: Quality = Quality(1 << 15);
    /// Sent in a unit that nobody knows: the value is as it was sent. Where its series is kept in another one, it is
    /// `IMPLAUSIBLE`, too.
    pub const UNIT_UNKNOWN: Quality = Quality(1 << 16);

    /// With any of these a reading is counted beside a rollup, never inside.
    pub const EXCLUDED: Quality = Quality(
        Self::SOURCE_BAD.0 | Self::CLOCK_SKEW.0 | Self::OUT_OF_RANGE.0 | Self::IMPLAUSIBLE.0 | Self::STUCK.0,
    );

    /// The flags set, in words.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Quality, &str); 12] = [
            (Quality::SOURCE_BAD, "source_bad"),
            (Quality::SOURCE_UNCERTAIN, "source_uncertain"),
            (Quality::STALE, "stale"),
            (Quality::HISTORICAL, "historical"),
            (Quality::LATE, "late"),
            (Quality::TIME_SUBSTITUTED, "time_substituted"),
            (Quality::CLOCK_SKEW, "clock_skew"),
            (Quality::OUT_OF_RANGE, "out_of_range"),
            (Quality::IMPLAUSIBLE, "implausible"),
            (Quality::STUCK, "stuck"),
            (Quality::PARTIAL, "partial"),
            (Quality::UNIT_UNKNOWN, "unit_unknown"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.intersects(*flag)).map(|(_, name)| name)
    }

    pub const fn without(self, other: Quality) -> Quality {
        Quality(self.0 & !other.0)
    }

    pub const fn only(self, other: Quality) -> Quality {
        Quality(self.0 & other.0)
    }

    pub const fn intersects(self, other: Quality) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Quality {
    type Output = Quality;

    fn bitor(self, other: Quality) -> Quality {
        Quality(self.0 | other.0)
    }
}

impl BitOrAssign for Quality {
    fn bitor_assign(&mut self, other: Quality) {
        self.0 |= other.0;
    }
}
