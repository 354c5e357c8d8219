//! Topic filters, as MQTT 5, 4.7 has them.

use std::str::FromStr;

/// Longest topic or filter in bytes: what MQTT can write.
const BYTES_MAX: usize = u16::MAX as usize;

/// A topic filter that a broker would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, topic: &str) -> bool {
        matches(&self.0, topic)
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{text:?} is no topic filter: {why}"));
        if text.is_empty() || BYTES_MAX < text.len() || text.contains('\0') {
            return wrong("give 1 to 65535 bytes without a zero");
        }
        let levels: Vec<&str> = text.split('/').collect();
        for (at, level) in levels.iter().enumerate() {
            if level.contains(['+', '#']) && level.len() != 1 {
                return wrong("`+` and `#` stand for whole levels");
            }
            if *level == "#" && at + 1 != levels.len() {
                return wrong("`#` is the last level");
            }
        }
        Ok(Filter(text.to_owned()))
    }
}

/// Which topics are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One of these matches; none is all topics.
    pub filters: Vec<Filter>,
    /// None of these does.
    pub exclude: Vec<Filter>,
}

impl Wanted {
    pub fn takes(&self, topic: &str) -> bool {
        let any = |filters: &[Filter]| filters.iter().any(|filter| filter.matches(topic));
        (self.filters.is_empty() || any(&self.filters)) && !any(&self.exclude)
    }
}

/// `+` is one level, a last `#` all that follow and the level above. Neither begins a match of `$SYS` and the like.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_filters_match_as_mqtt_says() {
        assert!(matches("a/+/c", "a/b/c"));
        assert!(matches("a/#", "a"));
        assert!(matches("a/#", "a/b/c"));
        assert!(matches("#", "a/b"));
        assert!(!matches("a/+", "a"));
        assert!(!matches("a/+", "a/b/c"));
        assert!(!matches("a/b/c", "a/b"));
        assert!(!matches("#", "$SYS/broker"));
        assert!(matches("$SYS/#", "$SYS/broker"));
    }

    #[test]
    fn what_a_broker_would_refuse_is_refused() {
        for right in ["#", "+", "a/+/b", "a/#", "/", "$SYS/#"] {
            assert_eq!(right.parse::<Filter>().unwrap().as_str(), right);
        }
        for wrong in ["", "a#", "a/#/b", "a+/b", "\0"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn topics_are_wanted_that_are_not_excluded() {
        let filters = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let wanted = Wanted { filters: filters(&["a/#", "b"]), exclude: filters(&["a/x/#"]) };
        assert!(wanted.takes("a/b") && wanted.takes("b"));
        assert!(!wanted.takes("a/x") && !wanted.takes("c"));
        assert!(Wanted::default().takes("c"));
    }
}
