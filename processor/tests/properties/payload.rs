//! Every decoder, by way of the pipeline that calls it: nothing panics or grows, and nothing is lost from sight.

use std::collections::BTreeSet;

use processor::{
    decode::{self, Body, Json, PAYLOAD_BYTES_MAX, SAMPLES_MAX},
    model::{Message, Number, Reason, Time},
    process::{Outcome, Processed, Rejection},
    validate::AHEAD_MAX,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    city::{self, Example, MAPPING, NOW, message},
    generate,
};

/// A sentence and what was seen, with the room that a text keeps to grow.
const DETAIL_BYTES_MAX: usize = 2_048;

const TOPICS: [&str; 10] = [
    "city/senml/x",
    "city/senml/x",
    "city/traffic/e1_A0A1_0/passage",
    "city/water/WM-101/register",
    "any/d7/a/x",
    "any/d7/b/x",
    "any/d7",
    "gateway/north/city/senml/x",
    "gateway/north",
    "nobody/knows",
];

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![12 => select(&TOPICS[..]).prop_map(String::from), 1 => "\\PC{0,40}"]
}

pub fn spoiled_of(examples: Vec<Example>) -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let payloads = examples.iter().map(|example| example.payload).collect::<Vec<_>>();
    select(examples).prop_flat_map(move |example| {
        // Mostly on its own topic, else whatever else is sent there.
        let own = generate::spoiled(vec![example.payload]);
        (Just(example.topic), prop_oneof![5 => own, 1 => generate::spoiled(payloads.clone())])
    })
}

fn spoiled() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    spoiled_of(city::EXAMPLES.clone())
}

fn alone() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let alone = city::EXAMPLES.iter().filter(|example| city::stands_alone(example.topic));
    spoiled_of(alone.cloned().collect())
}

/// Decodes one message: bounded, finite, and refused in few words.
fn check_verdict(message: &Message) -> Result<(), TestCaseError> {
    let mut wrong = None;
    let verdict = city::read(message, &MAPPING, |sample| {
        let numbers = match &sample.body {
            Body::Value(value) => vec![Some(*value)],
            Body::Event(passage) => {
                if !passage.class.iter().all(|class| class.chars().count() <= 64 && !class.contains('\0')) {
                    wrong = Some(sample.to_string());
                }
                vec![passage.speed_kmh, passage.length_m, passage.on_time_s]
            }
        };
        if !numbers.into_iter().flatten().all(f64::is_finite) {
            wrong = Some(sample.to_string());
        }
    });
    prop_assert_eq!(wrong, None);
    if let Some(number) = verdict.number {
        prop_assert_eq!(Number::new(&number.source, number.epoch, number.seq), Some(number));
    }
    prop_assert!(verdict.count <= SAMPLES_MAX);
    for refusal in verdict.refused.into_iter().chain(verdict.refusal) {
        prop_assert!(refusal.detail.capacity() <= DETAIL_BYTES_MAX, "{:?}", refusal);
    }
    Ok(())
}

/// Everything that was sent is somewhere, once.
fn check_account(messages: &[Message], said: &Processed) -> Result<(), TestCaseError> {
    prop_assert_eq!(said.fates.len(), messages.len());
    prop_assert!(said.proposals.is_empty());
    for (i, (fate, message)) in said.fates.iter().zip(messages).enumerate() {
        let i = i as u32;
        let readings = said.readings.iter().filter(|reading| reading.message == i).count();
        let events = said.events.iter().filter(|event| event.message == i).count();
        let rejections: Vec<&Rejection> = said.rejections.iter().filter(|r| r.message == i).collect();
        let refused: u32 = rejections.iter().map(|rejection| rejection.readings).sum();
        let reasons: BTreeSet<Reason> = rejections.iter().map(|rejection| rejection.reason).collect();
        prop_assert_eq!(reasons.len(), rejections.len());
        prop_assert_eq!(fate.decoded, readings as u32 + events as u32 + refused);
        match fate.outcome {
            Outcome::Accepted => {
                prop_assert!(0 < fate.decoded && rejections.iter().all(|rejection| 0 < rejection.readings));
            }
            Outcome::Ignored => prop_assert!(fate.decoded == 0 && rejections.is_empty()),
            Outcome::Rejected => prop_assert!(fate.decoded == 0 && rejections.len() == 1),
        }
        if let (Some(gateway), Some(number)) = (decode::gateway(&message.topic).0, &fate.number) {
            prop_assert_eq!(gateway, &*number.source);
        }
    }
    let kept_time = |time: Time| Time::YEAR_2000 <= time && time <= NOW.plus(AHEAD_MAX);
    prop_assert!(said.readings.iter().all(|reading| reading.value.is_finite() && kept_time(reading.time)));
    prop_assert!(said.events.iter().all(|event| kept_time(event.time)));
    prop_assert!(said.rejections.iter().all(|rejection| rejection.detail.len() <= DETAIL_BYTES_MAX));
    Ok(())
}

pub fn check(topic: &str, payload: &[u8]) -> Result<(), TestCaseError> {
    let message = message(topic, payload);
    check_verdict(&message)?;
    let messages = [message];
    check_account(&messages, &city::heard(&messages))
}

/// Whether our tree says what serde_json's does.
fn agree(ours: &Json<'_>, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (ours, other) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::Int(a), Value::Number(b)) => b.as_i64() == Some(*a),
        (Json::Float(a), Value::Number(b)) => b.as_i64().is_none() && b.as_f64() == Some(*a),
        (Json::Text(a), Value::String(b)) => a == b,
        (Json::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b)),
        (Json::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(&**key).is_some_and(|b| agree(a, b)))
        }
        _ => false,
    }
}

fn check_json(text: &str) -> Result<(), TestCaseError> {
    let other = serde_json::from_str::<serde_json::Value>(text);
    match (Json::parse(text.as_bytes()), other) {
        (Ok(ours), Ok(other)) => prop_assert!(agree(&ours, &other), "{} is not {:?}", other, ours),
        (Ok(ours), Err(error)) => prop_assert!(false, "{:?}, and serde_json: {}", ours, error),
        (Err(refusal), Ok(_)) => {
            let ours = refusal.reason == Reason::TooDeep || refusal.detail.contains("stands twice");
            prop_assert!(ours, "{:?}", refusal);
        }
        (Err(_), Err(_)) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_have_one_fate(topic in topic(), payload in vec(any::<u8>(), 0..300)) {
        check(&topic, &payload)?;
    }

    #[test]
    fn any_json_has_one_fate(topic in topic(), payload in generate::json()) {
        check(&topic, payload.as_bytes())?;
    }

    #[test]
    fn any_senml_pack_has_one_fate(payload in generate::pack()) {
        check("city/senml/x", payload.as_bytes())?;
    }

    #[test]
    fn a_spoiled_message_has_one_fate((topic, payload) in spoiled()) {
        check(topic, &payload)?;
    }

    #[test]
    fn json_is_read_as_others_read_it(text in prop_oneof![generate::json(), generate::pack()]) {
        check_json(&text)?;
    }

    /// Of more digits or larger exponents the last bit may be another: serde_json reads them so without its feature
    /// `float_roundtrip`.
    #[test]
    fn a_number_of_15_digits_is_read_to_its_last_bit(
        digits in 0..1_000_000_000_000_000i64,
        exponent in -22..=0i32,
        negative in any::<bool>(),
    ) {
        let sign = if negative { "-" } else { "" };
        let text = format!("{sign}{digits}e{exponent}");
        prop_assert_eq!(Json::parse(text.as_bytes()).ok().and_then(|json| json.as_f64()), text.parse().ok());
        let value = digits as f64 / 1e6;
        let text = format!("{sign}{value}");
        prop_assert_eq!(Json::parse(text.as_bytes()).ok().and_then(|json| json.as_f64()), text.parse().ok());
    }

    #[test]
    fn spoiled_json_is_read_as_others_read_it((_, payload) in spoiled()) {
        if let Ok(text) = str::from_utf8(&payload) {
            check_json(text)?;
        }
    }

    /// More than one task's share, so that the seams of a batch are tried too.
    #[test]
    fn a_batch_says_what_its_messages_say(
        sent in vec(prop_oneof![alone(), generate::pack().prop_map(|pack| ("city/senml/x", pack.into_bytes()))], 1..20),
        times in 1..12usize,
    ) {
        let messages: Vec<Message> = sent.iter().map(|(topic, payload)| message(topic, payload)).collect();
        let messages = vec![messages; times].concat();
        let said = city::heard(&messages);
        check_account(&messages, &said)?;
        for (i, same) in said.fates.chunks(sent.len()).enumerate() {
            prop_assert_eq!(same, &said.fates[..sent.len()], "repeat {}", i);
        }
    }

    #[test]
    fn a_leading_number_is_found_whatever_follows(
        source in "[A-Za-z0-9._~-]{1,64}",
        epoch in 0..=i64::MAX,
        seq in 1..1i64 << 62,
        rest in vec(any::<u8>(), 0..60),
        in_pack in any::<bool>(),
        below in any::<bool>(),
    ) {
        let member = format!(r#"{{"screenline":{{"source":"{source}","epoch":{epoch},"seq":{seq}}}"#);
        let payload = [if in_pack { b"[" } else { &b""[..] }, member.as_bytes(), &rest].concat();
        let topic = if below { format!("gateway/{source}/nobody/knows") } else { "nobody/knows".to_owned() };
        let said = city::heard(&[message(&topic, &payload)]);
        prop_assert_eq!(&said.fates[0].number, &Number::new(&source, epoch, seq));
        let elsewhere = city::heard(&[message("gateway/~other/city/senml/x", &payload)]);
        prop_assert_eq!(elsewhere.fates[0].number.is_none(), source != "~other");
    }

    #[test]
    fn a_spoiled_number_is_none_or_one_that_could_be(
        payload in generate::spoiled(vec![br#"[{"screenline":{"source":"north","epoch":1700000000,"seq":17},"n":"a:b","v":1}]"#]),
    ) {
        check_verdict(&message("nobody/knows", &payload))?;
        check("city/senml/x", &payload)?;
    }
}

#[test]
fn what_is_too_large_is_refused_unread() {
    let payload = vec![b'['; PAYLOAD_BYTES_MAX + 1];
    let said = city::heard(&[message("city/senml/x", &payload)]);
    assert_eq!(said.rejections[0].reason, Reason::TooLarge);
}
