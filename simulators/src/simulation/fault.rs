//! What goes wrong in the field: kinds of faults, whom they strike, and when. Whether one strikes follows from the seed.

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::city::City;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message comes twice: by the same gateway again, by a second one, or with other values.
    Duplicate,
    /// A message is lost on its way, after it was numbered.
    Drop,
    /// A message is held for up to `by`.
    Delay,
    /// A message is overtaken by up to `times` later ones of its sender.
    Reorder,
    /// All messages of a sender are held until the window ends, and come at once.
    Burst,
    /// A sender says nothing.
    Gap,
    /// A sensor shows the value from the beginning of the window.
    Stuck,
    /// A sensor shows more and more: by the share `size` of its value in an hour. Not registers.
    Drift,
    /// A sensor shows too much: by the share `size` of its range. Not registers.
    Bias,
    /// A sensor's clock is ahead by `by`, or behind.
    ClockSkew,
    /// A register runs over its highest value in the middle of the window.
    Rollover,
    /// A meter is taken out in the middle of the window, and a new one put in that begins at 0.
    Exchange,
    /// A sensor names a unit that nobody knows, or one of another quantity.
    WrongUnit,
    /// A message is cut, or is not what it should be.
    Garbage,
    /// A message of more than 256 KiB.
    Oversize,
    /// Connections are cut and made again, `times` over, in the middle of what they send.
    ReconnectStorm,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Duplicate,
        Kind::Drop,
        Kind::Delay,
        Kind::Reorder,
        Kind::Burst,
        Kind::Gap,
        Kind::Stuck,
        Kind::Drift,
        Kind::Bias,
        Kind::ClockSkew,
        Kind::Rollover,
        Kind::Exchange,
        Kind::WrongUnit,
        Kind::Garbage,
        Kind::Oversize,
        Kind::ReconnectStorm,
    ];

    /// Whether it strikes sensors, and what they show, and not messages or senders.
    pub fn strikes_sensors(self) -> bool {
        use Kind::{Bias, ClockSkew, Drift, Exchange, Rollover, Stuck, WrongUnit};
        matches!(self, Stuck | Drift | Bias | ClockSkew | Rollover | Exchange | WrongUnit)
    }
}

/// A fault of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    /// The share of what it strikes: messages, senders, sensors or connections.
    pub rate: f64,
    /// The window, from the start of the run; all of it where they are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SignedDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SignedDuration>,
    /// Whom it strikes: owners (`traffic`), roles (`loop`), districts (`district:3`) or names; all where it is missing. A
    /// message or sender is struck as a whole if one of its sensors is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    /// How long, of a delay or a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SignedDuration>,
    /// How much, as a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// How often, or how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// Faults in a file: more than anybody tells apart.
const FAULTS_MAX: usize = 100;
/// Furthest that a message is held, in ticks: what waits is kept in memory.
pub const HELD_TICKS_MAX: u32 = 3 * 60;
/// Sends of one storm: a connection takes some milliseconds to make.
const TIMES_MAX: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Fault>,
}

impl Fault {
    /// A file with some of everything.
    pub const ALL: &str = include_str!("all.toml");

    /// `all`, or the text of a file: TOML with an array of tables `[[fault]]`.
    ///
    /// ```
    /// # use simulators::simulation::Fault;
    /// let faults = Fault::parse(r#"
    ///     [[fault]]
    ///     kind = "gap"
    ///     rate = 0.1
    ///     from = "2m"
    ///     to = "5m"
    ///     sensors = ["water", "district:0"]
    /// "#)?;
    /// # assert_eq!(faults.len(), 1);
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// The line and what is wrong there.
    pub fn parse(text: &str) -> anyhow::Result<Vec<Fault>> {
        let text = if text == "all" { Self::ALL } else { text };
        let File { fault: faults } = toml::from_str(text)?;
        ensure!(faults.len() <= FAULTS_MAX, "{} faults, {FAULTS_MAX} are the most", faults.len());
        for (n, fault) in faults.iter().enumerate() {
            fault.check().with_context(|| format!("fault {} ({:?})", n + 1, fault.kind))?;
        }
        Ok(faults)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!((0.0..=1.0).contains(&self.rate), "rate = {}: a share from 0 to 1 is due", self.rate);
        let (from, to) = (self.from.unwrap_or_default(), self.to.unwrap_or(SignedDuration::MAX));
        ensure!(!from.is_negative() && from < to, "the window ends before it begins");
        let held = i64::from(HELD_TICKS_MAX) * super::TICK_S;
        match self.kind {
            Kind::Delay => {
                let by = self.by.context("by = \"2m\" is due: for how long messages are held")?.as_secs();
                ensure!(0 < by && by <= held, "by: from 1s to {held}s");
            }
            Kind::ClockSkew => {
                let by = self.by.context("by = \"-61s\" is due: how far the clock is ahead, or behind")?;
                ensure!(
                    by.subsec_nanos() == 0 && by.as_secs() % super::TICK_S != 0,
                    "by: whole seconds, and no multiple of {} s, or what it shows would meet what it showed before",
                    super::TICK_S
                );
            }
            Kind::Drift | Kind::Bias => {
                let size = self.size.context("size = 0.1 is due: a share")?;
                ensure!(size.is_finite() && size.abs() <= 1_000.0, "size: a share from -1000 to 1000");
            }
            Kind::Burst => {
                ensure!(
                    to.saturating_sub(from).as_secs() <= held,
                    "to: a burst is held for {held} s at most"
                );
            }
            _ => {}
        }
        ensure!(
            self.times.is_none_or(|times| (1..=TIMES_MAX).contains(&times)),
            "times: from 1 to {TIMES_MAX}"
        );
        Ok(())
    }

    /// First and last tick of its window in a run of so many.
    pub fn ticks(&self, ticks: u32) -> (u32, u32) {
        let tick = |at: SignedDuration| (at.as_secs() / super::TICK_S).clamp(0, i64::from(ticks)) as u32;
        (self.from.map_or(0, tick), self.to.map_or(ticks, tick))
    }

    /// Whether it may strike a sensor at all.
    pub fn concerns(&self, city: &City, sensor: u32) -> bool {
        let role = city.role(sensor);
        let is = |name: &String| match name.strip_prefix("district:") {
            Some(number) => number.parse() == Ok(sensor as usize / crate::city::role::DISTRICT),
            None => name == role.owner() || name == role.name() || *name == city.id(sensor),
        };
        self.sensors.is_empty() || self.sensors.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_file_has_every_kind() {
        let faults = Fault::parse("all").unwrap();
        for kind in Kind::ALL {
            assert!(faults.iter().any(|fault| fault.kind == kind), "{kind:?}");
        }
        let again: Vec<Fault> = serde_json::from_str(&serde_json::to_string(&faults).unwrap()).unwrap();
        assert_eq!(again, faults);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let wrong = |text: &str| format!("{:#}", Fault::parse(text).unwrap_err());
        assert!(wrong("[[fault]]\nkind = \"leek\"\nrate = 0.1").contains("leek"));
        assert!(wrong("[[fault]]\nkind = \"gap\"\nrate = 2").contains("from 0 to 1"));
        assert!(wrong("[[fault]]\nkind = \"delay\"\nrate = 0.1").contains("by"));
        assert!(wrong("[[fault]]\nkind = \"clock_skew\"\nrate = 0.1\nby = \"2m\"").contains("multiple"));
        assert!(wrong("[[fault]]\nkind = \"gap\"\nrate = 0.1\nfrom = \"3m\"\nto = \"2m\"").contains("ends"));
        assert!(wrong("[[fault]]\nkind = \"gap\"\nrate = 0.1\nhow = 3").contains("how"));
    }
}
