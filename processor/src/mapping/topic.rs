use std::str::FromStr;

/// A topic pattern: `{name}` captures one level, `+` ignores one, a last `#` ignores all that follow.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicPattern {
    levels: Vec<Level>,
}

#[derive(Clone, PartialEq, Debug)]
enum Level {
    Exact(String),
    Capture(String),
    Any,
    Rest,
}

impl TopicPattern {
    /// The levels captured, by name, in order; `None` where the topic is another.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'_, 't>> {
        let mut captured = Vec::new();
        let mut levels = topic.split('/');
        for level in &self.levels {
            match level {
                Level::Rest => return Some(Captures(captured)),
                Level::Any => drop(levels.next()?),
                Level::Exact(text) if levels.next()? == text => {}
                Level::Exact(_) => return None,
                Level::Capture(name) => captured.push((name.as_str(), levels.next()?)),
            }
        }
        levels.next().is_none().then_some(Captures(captured))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Capture(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The MQTT topic filter to subscribe to.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Exact(text) => text.clone(),
            Level::Capture(_) | Level::Any => "+".to_owned(),
            Level::Rest => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }
}

/// The topic levels that a pattern captured.
#[derive(Clone, Debug, Default)]
pub struct Captures<'p, 't>(Vec<(&'p str, &'t str)>);

impl<'t> Captures<'_, 't> {
    pub fn get(&self, name: &str) -> Option<&'t str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

impl FromStr for TopicPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut levels = Vec::new();
        for level in text.split('/') {
            if levels.contains(&Level::Rest) {
                return Err(format!("topic {text:?}: \"#\" must be the last level"));
            }
            levels.push(match level {
                "+" => Level::Any,
                "#" => Level::Rest,
                _ => match level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                        Level::Capture(name.to_owned())
                    }
                    None if !level.contains(['{', '}', '+', '#']) => Level::Exact(level.to_owned()),
                    _ => {
                        return Err(format!(
                            "topic {text:?}: {level:?} is neither a name, \"{{name}}\", \"+\" nor \"#\""
                        ));
                    }
                },
            });
        }
        Ok(TopicPattern { levels })
    }
}

/// The filters left when every filter that another one covers is taken out: a broker may deliver a message once
/// for each subscription that fits it.
pub fn without_covered(filters: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for (i, filter) in filters.iter().enumerate() {
        let covered = filters
            .iter()
            .enumerate()
            .any(|(j, other)| i != j && covers(other, filter) && (!covers(filter, other) || j < i));
        if !covered {
            kept.push(filter.clone());
        }
    }
    kept
}

fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_its_topics_and_no_others() {
        let pattern: TopicPattern = "city/+/{id}/{metric}".parse().unwrap();
        let captures = pattern.captures("city/north/L7/speed").unwrap();
        assert_eq!((captures.get("id"), captures.get("metric")), (Some("L7"), Some("speed")));
        assert!(pattern.captures("city/north/L7").is_none());
        assert!(pattern.captures("city/north/L7/speed/more").is_none());
        assert!("a/#".parse::<TopicPattern>().unwrap().captures("a/b/c").is_some());
        assert!("a/#/b".parse::<TopicPattern>().is_err());
        assert!("a/{b".parse::<TopicPattern>().is_err());
    }

    #[test]
    fn a_covered_filter_is_not_subscribed_to_twice() {
        let filters = ["city/water/+/register", "city/#", "spBv1.0/#", "city/#"].map(String::from);
        assert_eq!(without_covered(&filters), ["city/#", "spBv1.0/#"]);
    }
}
