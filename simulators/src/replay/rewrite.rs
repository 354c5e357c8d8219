//! Other topics in place of the recorded ones.

use std::str::FromStr;

use crate::filter::Filter;

/// `OLD=NEW`. With wildcards, `city/+/#=test/+/#`, OLD is a topic filter that matches the whole topic, and the wildcards
/// of NEW stand for what those of OLD matched, in their order. Without, `city=test`, the levels of OLD at the beginning of
/// a topic are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    old: Vec<String>,
    new: Vec<String>,
}

impl FromStr for Rewrite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (old, new) = text.split_once('=').ok_or("give OLD=NEW, such as city/#=test/#")?;
        let levels = |text: &str| -> Result<Vec<String>, String> {
            text.parse::<Filter>()?;
            Ok(text.split('/').map(str::to_owned).collect())
        };
        let (mut old, mut new) = (levels(old)?, levels(new)?);
        let count =
            |levels: &[String], wildcard: &str| levels.iter().filter(|level| *level == wildcard).count();
        for wildcard in ["+", "#"] {
            let (there, wanted) = (count(&old, wildcard), count(&new, wildcard));
            if there < wanted {
                return Err(format!(
                    "{text:?} has {wanted} `{wildcard}` on its right and {there} on its left"
                ));
            }
        }
        if count(&old, "+") + count(&old, "#") == 0 {
            old.push("#".to_owned());
            new.push("#".to_owned());
        }
        Ok(Rewrite { old, new })
    }
}

impl Rewrite {
    /// The other topic; `None` when this is not for the topic.
    pub fn topic(&self, topic: &str) -> Option<String> {
        let levels: Vec<&str> = topic.split('/').collect();
        let (mut matched, mut rest): (Vec<&str>, &[&str]) = (Vec::new(), &[]);
        let open = self.old.last().is_some_and(|level| level == "#");
        let fixed = self.old.len() - usize::from(open);
        if levels.len() < fixed || (!open && fixed < levels.len()) {
            return None;
        }
        if topic.starts_with('$') && self.old.first().is_some_and(|level| level == "+" || level == "#") {
            return None;
        }
        for (level, there) in self.old[..fixed].iter().zip(&levels) {
            match level.as_str() {
                "+" => matched.push(there),
                level if level == *there => {}
                _ => return None,
            }
        }
        if open {
            rest = &levels[fixed..];
        }
        let mut matched = matched.into_iter();
        let mut topic: Vec<&str> = Vec::new();
        for level in &self.new {
            match level.as_str() {
                "+" => topic.extend(matched.next()),
                "#" => topic.extend(rest),
                level => topic.push(level),
            }
        }
        Some(topic.join("/"))
    }
}

/// What the first rule says that is for the topic, else the topic itself.
pub(super) fn rewritten(topic: String, rules: &[Rewrite]) -> String {
    rules.iter().find_map(|rule| rule.topic(&topic)).unwrap_or(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rewrite {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards_stand_for_what_they_matched() {
        for (text, topic, expected) in [
            ("city=test", "city/water/1", Some("test/water/1")),
            ("city=test", "city", Some("test")),
            ("city=test", "cityhall/1", None),
            ("city/water=a/b/c", "city/water/1", Some("a/b/c/1")),
            ("city/#=test/#", "city/x/y", Some("test/x/y")),
            ("city/+/register=city/copy-+", "city/a/register", None),
            ("+/+/#=+/x/+/#", "a/b/c/d", Some("a/x/b/c/d")),
            ("city/+/register=meters/+", "city/a/register", Some("meters/a")),
            ("city/+/register=meters/+", "city/a/register/x", None),
            ("#=copy/#", "a/b", Some("copy/a/b")),
            ("#=copy/#", "$SYS/b", None),
        ] {
            let found = text.parse::<Rewrite>().ok().and_then(|rule| rule.topic(topic));
            assert_eq!(found.as_deref(), expected, "{text} on {topic}");
        }
    }

    #[test]
    fn the_first_rule_wins_and_others_leave_the_topic() {
        let rules = [rule("a/b=x"), rule("a=y")];
        assert_eq!(rewritten("a/b/c".to_owned(), &rules), "x/c");
        assert_eq!(rewritten("a/c".to_owned(), &rules), "y/c");
        assert_eq!(rewritten("b".to_owned(), &rules), "b");
    }

    #[test]
    fn a_rule_that_would_invent_levels_is_refused() {
        for wrong in ["city", "a/+=b/+/+", "a=b/#", "a#=b", "=b", "a="] {
            assert!(wrong.parse::<Rewrite>().is_err(), "{wrong}");
        }
    }
}
