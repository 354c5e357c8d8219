use std::str::FromStr;

/// A topic pattern: `{name}` captures one level, or a part of one as in `Datastreams({id})`; `+` ignores one; a last `#`
/// ignores all that follow, and a last `{name#}` captures them.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicPattern {
    levels: Vec<Level>,
    /// The exact levels before the first other one, if there are any: most topics differ there from most patterns.
    begins: Option<String>,
}

#[derive(Clone, PartialEq, Debug)]
enum Level {
    Exact(String),
    Capture { before: String, name: String, after: String },
    Any,
    Rest,
    CaptureRest(String),
}

impl TopicPattern {
    /// The levels captured, by name, in order; `None` where the topic is another.
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Captures<'_, 't>> {
        let mut captured = Vec::new();
        let mut rest = Some(topic);
        if let Some(begins) = &self.begins {
            rest = match topic.strip_prefix(begins.as_str())? {
                "" => None,
                rest => Some(rest.strip_prefix('/')?),
            };
        }
        for level in self.levels.iter().skip_while(|level| matches!(level, Level::Exact(_))) {
            match level {
                Level::Rest => return Some(Captures(captured)),
                Level::CaptureRest(name) => {
                    captured.push((name.as_str(), rest?));
                    return Some(Captures(captured));
                }
                Level::Any => drop(next_level(&mut rest)?),
                Level::Exact(text) if next_level(&mut rest)? == text => {}
                Level::Exact(_) => return None,
                Level::Capture { before, name, after } => {
                    let part =
                        next_level(&mut rest)?.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    captured.push((name.as_str(), part));
                }
            }
        }
        rest.is_none().then_some(Captures(captured))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Capture { name, .. } | Level::CaptureRest(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The MQTT topic filter to subscribe to.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Exact(text) => text.clone(),
            Level::Capture { .. } | Level::Any => "+".to_owned(),
            Level::Rest | Level::CaptureRest(_) => "#".to_owned(),
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
            if matches!(levels.last(), Some(Level::Rest | Level::CaptureRest(_))) {
                return Err(format!("topic {text:?}: \"#\" must be the last level"));
            }
            levels.push(match level {
                "+" => Level::Any,
                "#" => Level::Rest,
                _ => capture(level).ok_or_else(|| {
                    format!("topic {text:?}: {level:?} is neither a name, \"{{name}}\", \"+\" nor \"#\"")
                })?,
            });
        }
        let exact = levels.iter().map_while(|level| match level {
            Level::Exact(text) => Some(text.as_str()),
            _ => None,
        });
        let exact: Vec<&str> = exact.collect();
        let begins = (!exact.is_empty()).then(|| exact.join("/"));
        Ok(TopicPattern { levels, begins })
    }
}

fn next_level<'t>(rest: &mut Option<&'t str>) -> Option<&'t str> {
    let topic = (*rest)?;
    let end = topic.bytes().position(|byte| byte == b'/');
    *rest = end.map(|end| &topic[end + 1..]);
    Some(&topic[..end.unwrap_or(topic.len())])
}

fn capture(level: &str) -> Option<Level> {
    const MARKS: [char; 4] = ['{', '}', '+', '#'];
    let Some((before, rest)) = level.split_once('{') else {
        return (!level.contains(MARKS)).then(|| Level::Exact(level.to_owned()));
    };
    let (name, after) = rest.split_once('}')?;
    if let (Some(name), "", "") = (name.strip_suffix('#'), before, after) {
        return (!name.is_empty() && !name.contains(MARKS)).then(|| Level::CaptureRest(name.to_owned()));
    }
    let plain = !name.is_empty() && ![before, name, after].iter().any(|text| text.contains(MARKS));
    plain.then(|| Level::Capture {
        before: before.to_owned(),
        name: name.to_owned(),
        after: after.to_owned(),
    })
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
        let part: TopicPattern = "v1.1/Datastreams({id})/Observations".parse().unwrap();
        let captures = part.captures("v1.1/Datastreams(42)/Observations").unwrap();
        assert_eq!((captures.get("id"), part.filter().as_str()), (Some("42"), "v1.1/+/Observations"));
        assert!(part.captures("v1.1/Things(42)/Observations").is_none());
        let rest: TopicPattern = "zigbee2mqtt/{device#}".parse().unwrap();
        assert_eq!(rest.captures("zigbee2mqtt/hall/door").unwrap().get("device"), Some("hall/door"));
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
