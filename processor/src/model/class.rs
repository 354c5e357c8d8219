use std::{fmt, str::FromStr};

use super::{Kind, Level, MetricName};

/// What retention keeps for a span of its own: a kind of row, or of it what belongs to metrics that begin alike
/// (`readings:camera.*`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Class {
    pub kept: Kept,
    /// Empty: all metrics.
    pub prefix: Box<str>,
}

/// A kind of row that grows with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kept {
    Readings,
    Events,
    Rollups(Level),
    Conflicts,
    Rejections,
    /// Which numbers of a source came in which hour.
    Positions,
    Ledger,
    Batches,
}

impl Kept {
    pub const ALL: [Kept; 10] = [
        Kept::Readings,
        Kept::Events,
        Kept::Rollups(Level::FiveMinutes),
        Kept::Rollups(Level::Hour),
        Kept::Rollups(Level::Day),
        Kept::Conflicts,
        Kept::Rejections,
        Kept::Positions,
        Kept::Ledger,
        Kept::Batches,
    ];

    /// As `--keep` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kept::Readings => "readings",
            Kept::Events => "events",
            Kept::Rollups(level) => level.table(),
            Kept::Conflicts => "conflicts",
            Kept::Rejections => "rejections",
            Kept::Positions => "positions",
            Kept::Ledger => "ledger",
            Kept::Batches => "batches",
        }
    }

    /// Whether its rows are of a metric.
    pub const fn has_metrics(self) -> bool {
        matches!(self, Kept::Readings | Kept::Events | Kept::Rollups(_))
    }

    /// Where the raw facts of a series are.
    pub const fn raw(kind: Kind) -> Kept {
        match kind {
            Kind::Event => Kept::Events,
            _ => Kept::Readings,
        }
    }
}

impl Class {
    pub fn all(kept: Kept) -> Class {
        Class { kept, prefix: "".into() }
    }

    pub fn holds(&self, kept: Kept, metric: &str) -> bool {
        self.kept == kept && metric.starts_with(&*self.prefix)
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, metrics) = text.split_once(':').unzip();
        let name = name.unwrap_or(text);
        let kept = Kept::ALL.into_iter().find(|kept| kept.as_str() == name).ok_or_else(|| {
            let known = Kept::ALL.map(Kept::as_str).join(", ");
            format!("{name:?} is no class of retention; the classes are {known}")
        })?;
        let Some(metrics) = metrics else { return Ok(Class::all(kept)) };
        let prefix = metrics.strip_suffix('*').filter(|prefix| MetricName::allows(prefix));
        match prefix {
            Some(_) if !kept.has_metrics() => Err(format!("{name} are not kept by metric")),
            Some(prefix) => Ok(Class { kept, prefix: prefix.into() }),
            None => Err(format!("{metrics:?} is not the beginning of a metric's name and a star: camera.*")),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.prefix {
            "" => f.write_str(self.kept.as_str()),
            prefix => write!(f, "{}:{prefix}*", self.kept.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_it_is_written() {
        for text in ["readings", "rollup_5m", "events:camera.*", "rollup_1d:water.volume*"] {
            assert_eq!(text.parse::<Class>().unwrap().to_string(), text);
        }
        for wrong in ["", "reading", "readings:", "readings:*", "readings:camera", "ledger:camera.*"] {
            assert!(wrong.parse::<Class>().is_err(), "{wrong}");
        }
        let camera: Class = "readings:camera.*".parse().unwrap();
        assert!(camera.holds(Kept::Readings, "camera.people") && !camera.holds(Kept::Readings, "cam"));
        assert!(!camera.holds(Kept::Events, "camera.people"));
    }
}
