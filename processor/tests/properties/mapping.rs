//! Mappings: any text is compiled or refused with words, and topics mean what MQTT says they do.

use processor::{
    decode::Json,
    mapping::{Captures, Mapping, Path, Place, Template, TopicPattern},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    city::{MAPPINGS, message, read},
    generate,
};

fn level() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-c]", 1 => Just("+".to_owned()), 1 => "\\{[xy]\\}", 1 => Just(String::new())]
}

fn filter() -> impl Strategy<Value = String> {
    (vec(level(), 0..4), any::<bool>()).prop_filter_map("a filter has a level", |(mut levels, open)| {
        levels.extend(open.then(|| "#".to_owned()));
        let filter = levels.join("/");
        (!filter.is_empty()).then_some(filter)
    })
}

/// MQTT 5, 4.7: whether a broker sends this topic to who asks for this filter.
fn fits(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// The shortest and the longest topic that a filter brings, spelled like no other filter here: who fits both brings
/// all that it does.
fn extremes(filter: &str) -> [String; 2] {
    let plain = filter.replace('+', "zz");
    match plain.strip_suffix('#') {
        None => [plain.clone(), plain],
        Some(begin) => {
            [begin.strip_suffix('/').unwrap_or(begin).to_owned(), format!("{begin}{}zz", "zz/".repeat(6))]
        }
    }
}

fn sources(topics: &[String]) -> String {
    let source = |(i, topic): (usize, &String)| {
        format!("[[source]]\nname = \"s{i}\"\ntopic = '{topic}'\nformat = \"senml-json\"\n")
    };
    topics.iter().enumerate().map(source).collect()
}

proptest! {
    #[test]
    fn any_text_is_no_mapping_or_one(text in prop_oneof![any::<String>(), "[\\[\\]{}=\"'a-z0-9.,# \n]{0,120}"]) {
        if let Err(error) = Mapping::parse(&[("city.toml", &text)]) {
            prop_assert!(error.to_string().starts_with("mapping city.toml"), "{}", error);
        }
    }

    #[test]
    fn a_spoiled_mapping_is_refused_or_reads_messages(
        text in generate::spoiled(MAPPINGS.iter().map(|text| text.as_bytes()).collect()),
        payload in prop_oneof![generate::json(), generate::pack()],
        topic in select(&["city/senml/x", "city/water/WM-1/register", "city/traffic/d/passage", "any/d/a/x"][..]),
    ) {
        if let Ok(text) = str::from_utf8(&text)
            && let Ok(mapping) = Mapping::parse(&[("city.toml", text)])
        {
            let verdict = read(&message(topic, payload.as_bytes()), &mapping, |_| {});
            prop_assert!(verdict.source.is_none_or(|source| source < mapping.sources().len()));
        }
    }

    #[test]
    fn any_text_is_no_pattern_path_or_template_or_one(text in prop_oneof![any::<String>(), "[a-c/+#{}~01]{0,30}"]) {
        if let Ok(pattern) = text.parse::<TopicPattern>() {
            let filter = pattern.filter();
            let levels: Vec<&str> = filter.split('/').collect();
            let wild = |level: &&str| level.contains(['+', '#']);
            prop_assert!(levels.iter().filter(|level| wild(level)).all(|level| *level == "+" || *level == "#"));
            prop_assert!(!levels[..levels.len() - 1].contains(&"#"));
            prop_assert_eq!(levels.len(), text.split('/').count());
        }
        if let Ok(path) = text.parse::<Path>() {
            prop_assert_eq!(path.find(&Place::of(&Json::Null)).is_some(), matches!(text.as_str(), "" | "." | ".."));
        }
        if let Ok(template) = text.parse::<Template>() {
            let rendered = template.render(&Captures::default(), &Place::of(&Json::Int(7)), &mut String::new());
            prop_assert_eq!(rendered.is_ok(), !text.contains('{'), "nothing is captured, and 7 has no members");
        }
    }

    #[test]
    fn a_pattern_takes_what_its_filter_brings(pattern in filter(), topic in vec("[a-c]?", 1..5)) {
        let pattern: TopicPattern = pattern.parse().map_err(TestCaseError::fail)?;
        let topic = topic.join("/");
        let captures = pattern.captures(&topic);
        prop_assert_eq!(captures.is_some(), fits(&pattern.filter(), &topic));
        if let Some(captures) = captures {
            for name in pattern.names() {
                prop_assert!(captures.get(name).is_some_and(|level| topic.split('/').any(|part| part == level)));
            }
        }
    }

    #[test]
    fn subscriptions_bring_every_mapped_topic(
        topics in vec(filter(), 1..8),
        topic in vec("[a-c]?", 1..5),
    ) {
        let text = sources(&topics);
        let mapping = Mapping::parse(&[("city.toml", &text)]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let topic = topic.join("/");
        let subscriptions = mapping.subscriptions(&["gateway/#"]);
        let brought = subscriptions.iter().any(|filter| fits(filter, &topic));
        prop_assert_eq!(brought, mapping.routes(&topic).next().is_some());
    }

    #[test]
    fn no_subscription_covers_another(topics in vec(filter(), 1..8)) {
        let text = sources(&topics);
        let mapping = Mapping::parse(&[("city.toml", &text)]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let subscriptions = mapping.subscriptions(&[]);
        for (i, one) in subscriptions.iter().enumerate() {
            for (_, other) in subscriptions.iter().enumerate().filter(|(j, _)| *j != i) {
                let covered = extremes(one).iter().all(|topic| fits(other, topic));
                prop_assert!(!covered, "{:?} is covered by {:?}", one, other);
            }
        }
    }

    #[test]
    fn a_path_finds_what_stands_there(steps in vec("[a-c~/]{0,4}", 0..6)) {
        let mut tree = Json::Int(7);
        for step in steps.iter().rev() {
            tree = Json::Object(vec![(step.as_str().into(), tree)]);
        }
        let path: String = steps.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        let path: Path = path.parse().map_err(TestCaseError::fail)?;
        prop_assert_eq!(path.find(&Place::of(&tree)), Some(&Json::Int(7)));
    }

    #[test]
    fn a_gateways_topic_is_its_name_and_what_follows(topic in prop_oneof!["(gateway/)?[a-c/]{0,10}", "\\PC{0,20}"]) {
        match processor::decode::gateway(&topic) {
            (Some(name), rest) => prop_assert_eq!(&format!("gateway/{name}/{rest}"), &topic),
            (None, rest) => prop_assert_eq!(rest, &topic),
        }
    }
}

/// Compiling recurses no deeper than the reader of TOML lets it.
#[test]
fn a_mapping_nested_without_end_is_refused() {
    let deep = [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ];
    for text in deep {
        assert!(Mapping::parse(&[("city.toml", &text)]).is_err());
    }
}
