//! Each decoder under mutated messages for some seconds: `SCREENLINE_FUZZ_SECONDS`, else one. Nothing panics, hangs or is
//! lost from sight.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use processor::mapping::{Format, Syntax};
use proptest::test_runner::{Config, TestRunner};

use crate::{
    city::{self, Example, MAPPING},
    payload,
};

/// The decoder that reads an example, by name.
fn decoder(example: &Example) -> String {
    let (_, topic) = processor::decode::gateway(example.topic);
    let source = MAPPING.routes(topic).next().map(|(_, source, _)| source);
    match source.map(|source| &source.format) {
        None | Some(Format::Ignore) => "none".to_owned(),
        Some(Format::Sparkplug(_)) => "sparkplug".to_owned(),
        Some(Format::Senml(rules)) => format!("senml {:?}", rules.syntax),
        Some(Format::Mapped(rules)) => match &rules.syntax {
            Syntax::Csv(_) => "csv".to_owned(),
            syntax => format!("{syntax:?}").to_lowercase(),
        },
    }
}

#[test]
fn each_decoder_stands_mutated_messages() {
    let seconds =
        std::env::var("SCREENLINE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut decoders: BTreeMap<String, Vec<Example>> = BTreeMap::new();
    for example in city::EXAMPLES.iter() {
        decoders.entry(decoder(example)).or_default().push(example.clone());
    }
    assert!(9 <= decoders.len(), "{:?}", decoders.keys());
    for (name, examples) in decoders {
        let until = Instant::now() + Duration::from_secs(seconds);
        let strategy = payload::spoiled_of(examples);
        let mut messages = 0;
        while Instant::now() < until {
            let config = Config { cases: 512, failure_persistence: None, ..Config::default() };
            let mut runner = TestRunner::new(config); // seeded anew
            let outcome = runner.run(&strategy, |(topic, payload)| payload::check(topic, &payload));
            outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
            messages += 512;
        }
        eprintln!("{name}: {messages} messages in {seconds} s");
    }
}
