use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use crate::model::{Class, Kept, Level, Span};

/// How long each class is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keep(BTreeMap<Class, Span>);

/// One class as the operator wants it: `readings=13mo`, `readings:camera.*=30d`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepRule(pub Class, pub Span);

/// What is kept where nothing else is said. Payloads of refused messages may hold anything, so they go first; a rollup
/// names nobody and costs little.
const DEFAULTS: [(Kept, Span); 10] = [
    (Kept::Readings, RAW),
    (Kept::Events, RAW),
    (Kept::Rollups(Level::FiveMinutes), Span::Forever),
    (Kept::Rollups(Level::Hour), Span::Forever),
    (Kept::Rollups(Level::Day), Span::Forever),
    (Kept::Conflicts, RAW),
    (Kept::Rejections, Span::days(14)),
    (Kept::Positions, RAW),
    (Kept::Ledger, Span::Forever),
    (Kept::Batches, Span::days(1)),
];
/// Longer than anybody waits for the outcome of a commit.
const BATCHES_MIN: Span = Span::Lasting(Duration::from_secs(3_600));
/// 13 months.
const RAW: Span = Span::days(13 * 31);

impl Keep {
    /// The defaults, with `rules` in their place. Where no rule names conflicts they are kept as long as all readings or all
    /// events are, whichever is longer; a rule for some metrics does not shorten them.
    ///
    /// # Errors
    /// What cannot be kept as asked, in a sentence that says what to ask for instead.
    pub fn new(rules: &[KeepRule], lateness_horizon: Span) -> Result<Keep, String> {
        let mut spans: BTreeMap<Class, Span> =
            DEFAULTS.into_iter().map(|(kept, span)| (Class::all(kept), span)).collect();
        spans.extend(rules.iter().map(|KeepRule(class, span)| (class.clone(), *span)));
        let conflicts = Class::all(Kept::Conflicts);
        if !rules.iter().any(|KeepRule(class, _)| *class == conflicts) {
            let [readings, events] = [Kept::Readings, Kept::Events].map(|kept| spans[&Class::all(kept)]);
            spans.insert(conflicts, if readings.is_shorter_than(events) { events } else { readings });
        }
        let keep = Keep(spans);
        keep.check(lateness_horizon)?;
        Ok(keep)
    }

    pub fn rules(&self) -> impl Iterator<Item = (&Class, Span)> {
        self.0.iter().map(|(class, span)| (class, *span))
    }

    /// How long rows of metrics that begin so are kept: by the longest beginning that is named.
    fn span(&self, kept: Kept, metric: &str) -> Span {
        let named = self.0.iter().filter(|(class, _)| class.holds(kept, metric));
        named.max_by_key(|(class, _)| class.prefix.len()).map_or(Span::Forever, |(_, span)| *span)
    }

    fn check(&self, lateness_horizon: Span) -> Result<(), String> {
        for kept in [Kept::Readings, Kept::Events] {
            let span = self.span(kept, "");
            if !lateness_horizon.is_shorter_than(span) && span != Span::Forever {
                let late = match lateness_horizon {
                    Span::Forever => "of any age".to_owned(),
                    horizon => format!("up to {horizon} old"),
                };
                return Err(format!(
                    "readings {late} are taken in, but {kept} are kept for {span} only: what came late would be dropped \
                     at once. Start with a --lateness-horizon shorter than {span}, or with \
                     --keep readings=forever,events=forever",
                    kept = kept.as_str(),
                ));
            }
        }
        for (class, span) in self.rules().filter(|(class, _)| !class.prefix.is_empty()) {
            let all = self.span(class.kept, "");
            if all.is_shorter_than(span) {
                return Err(format!(
                    "{class} cannot be kept for {span} while {kept} are kept for {all}: whole days of {kept} are \
                     dropped. Keep {kept} for {span}, and name the metrics that go earlier",
                    kept = class.kept.as_str(),
                ));
            }
        }
        for (class, span) in self.rules().filter(|(class, _)| matches!(class.kept, Kept::Rollups(_))) {
            for raw in [Kept::Readings, Kept::Events] {
                let of_raw = self.span(raw, &class.prefix);
                if span.is_shorter_than(of_raw) {
                    return Err(format!(
                        "{class} cannot be kept for {span} while the {raw} it is made of are kept for {of_raw}: a late \
                         one would bring it back, and wider rollups are made of it. Keep {class} for {of_raw} or longer",
                        raw = raw.as_str(),
                    ));
                }
            }
        }
        if self.span(Kept::Batches, "").is_shorter_than(BATCHES_MIN) {
            return Err("batches must be kept for an hour or longer: they settle whether a commit happened"
                .to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for KeepRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.0, self.1)
    }
}

impl FromStr for KeepRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, span) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} is no class and span, such as readings=13mo or readings:camera.*=30d")
        })?;
        Ok(KeepRule(class.trim().parse()?, span.trim().parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(rules: &[&str], horizon: &str) -> Result<Keep, String> {
        let rules: Vec<KeepRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Keep::new(&rules, horizon.parse().unwrap())
    }

    #[test]
    fn the_defaults_fit_each_other_and_what_does_not_fit_is_refused_in_plain_words() {
        assert_eq!(keep(&[], "400d").unwrap().span(Kept::Readings, "water.level").to_string(), "13mo");
        let refused = [
            (vec![], "unlimited", "--keep readings=forever,events=forever"),
            (vec!["readings=400d"], "400d", "a --lateness-horizon shorter than 400d"),
            (vec!["readings:camera.*=2y"], "400d", "Keep readings for 2y"),
            (vec!["rollup_5m=1y"], "400d", "Keep rollup_5m for 13mo or longer"),
            (vec!["batches=10m"], "400d", "an hour"),
        ];
        for (rules, horizon, says) in refused {
            let error = keep(&rules, horizon).unwrap_err();
            assert!(error.contains(says), "{rules:?}: {error}");
        }
        keep(&["readings=forever", "events=forever"], "unlimited").unwrap();
    }

    #[test]
    fn a_conflict_is_kept_as_long_as_its_reading() {
        let of = |rules: &[&str]| keep(rules, "30d").unwrap().span(Kept::Conflicts, "").to_string();
        assert_eq!(of(&[]), "13mo");
        assert_eq!(of(&["readings=forever"]), "forever");
        assert_eq!(of(&["events=2y"]), "2y");
        assert_eq!(of(&["events=2y", "conflicts=14mo"]), "14mo");
    }

    #[test]
    fn the_longest_beginning_counts() {
        let rules = [
            "readings:camera.*=30d",
            "readings:camera.people*=7d",
            "rollup_5m:camera.*=1y",
            "events:camera.*=30d",
        ];
        let keep = keep(&rules, "400d").unwrap();
        let of = |metric: &str| keep.span(Kept::Readings, metric).to_string();
        assert_eq!([of("camera.people.in"), of("camera.bikes"), of("cam")], ["7d", "30d", "13mo"]);
        assert!(KeepRule::from_str("readings").is_err() && KeepRule::from_str("readings=soon").is_err());
    }
}
