//! Payloads of others, with known answers. They are not part of the project.

use std::fs;

use expect_test::{Expect, expect};
use processor::{mapping::Mapping, memory::Memory};

use crate::street::{lines, message, payloads, ready};

const RECEIVED: &str = "2026-11-22T12:00:00Z";

fn check(mapping: &str, topic: &str, file: &str, expected: Expect) {
    let Some(folder) = payloads() else { return };
    let payload = fs::read(folder.join(file)).unwrap();
    let read = lines(&ready(mapping), &message(topic, &payload, RECEIVED), &mut Memory::default());
    expected.assert_eq(&(read.join("\n") + "\n"));
}

#[test]
fn senml_packs_are_their_resolved_pairs() {
    let Some(folder) = payloads() else { return };
    let mapping = "[[source]]\nname = \"json\"\ntopic = \"json\"\nformat = \"senml-json\"\n\
                   [[source]]\nname = \"cbor\"\ntopic = \"cbor\"\nformat = \"senml-cbor\"\n";
    let mapping = Mapping::parse(&[("senml.toml", mapping)]).unwrap();
    let read = |topic: &str, file: String| {
        let payload = fs::read(folder.join("senml").join(&file)).unwrap();
        let mut lines = lines(&mapping, &message(topic, &payload, RECEIVED), &mut Memory::default());
        assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains("refused")), "{file}: {lines:?}");
        lines.sort();
        lines
    };
    for pair in [3, 4, 5, 6, 8, 10, 11, 12] {
        let pack = read("json", format!("ex{pair}.json"));
        let resolved = read("json", format!("ex{pair}.resolved.json"));
        // What a resolved record names must be named in full.
        let text = fs::read_to_string(folder.join(format!("senml/ex{pair}.resolved.json"))).unwrap();
        let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let measured = records.iter().filter(|record| record.get("v").is_some()).count();
        assert_eq!((&pack, pack.len()), (&resolved, measured), "example {pair}");
        if pair == 3 || pair == 5 {
            assert_eq!(read("cbor", format!("ex{pair}.cbor")), pack, "example {pair} in CBOR");
        }
    }
    // Without an absolute time: relative to their receipt.
    for alone in [1, 2, 7, 9] {
        let file = format!("ex{alone}.json");
        let payload = fs::read(folder.join("senml").join(&file)).unwrap();
        let lines = lines(&mapping, &message("json", &payload, RECEIVED), &mut Memory::default());
        assert!(lines.iter().all(|line| line.contains("time_substituted")), "{file}: {lines:?}");
    }
}

#[test]
fn the_things_stack() {
    check(
        "things-stack",
        "v3/app1@tenant1/devices/dev1/up",
        "tts_uplink.json",
        expect![[r#"
        2020-02-12T15:15:45.789585Z lora:0004A30B001C0530 air.temperature 1 Cel gauge
        2020-02-12T15:15:45.789585Z lora:0004A30B001C0530 light.level 0.64 - gauge
    "#]],
    );
    check(
        "things-stack",
        "v3/app1@tenant1/devices/dev1/up",
        "tts_uplink_as_documented_INVALID.json",
        expect![[r#"
            refused not_json: expected `,` or `}` at line 79 column 5
        "#]],
    );
}

#[test]
fn one_entity_in_three_shapes() {
    let Some(folder) = payloads() else { return };
    let mut said = std::collections::BTreeSet::new();
    for shape in ["example.json", "example-normalized.json", "example-normalized.jsonld"] {
        let text = fs::read_to_string(folder.join(format!("ngsi_TrafficFlowObserved_{shape}"))).unwrap();
        let wrapped = format!(r#"{{"subscriptionId":"s","data":[{text}]}}"#);
        let enveloped = format!(r#"{{"metadata":{{}},"body":{wrapped}}}"#);
        for payload in [&text, &wrapped, &enveloped] {
            let message = message("ngsi/traffic", payload.as_bytes(), RECEIVED);
            let read = lines(&ready("ngsi"), &message, &mut Memory::default()).join("\n");
            said.insert(read.replace("urn:ngsi-ld:TrafficFlowObserved:", ""));
        }
    }
    assert_eq!(said.len(), 1, "{said:#?}");
    expect![[r#"
        2016-12-07T11:15:00Z ngsi:TrafficFlowObserved-Valladolid-osm-60821110 traffic.volume 197 {veh} total/300s
        2016-12-07T11:15:00Z ngsi:TrafficFlowObserved-Valladolid-osm-60821110 traffic.occupancy 0.76 1 rate/300s
        2016-12-07T11:15:00Z ngsi:TrafficFlowObserved-Valladolid-osm-60821110 traffic.speed.mean 52.6 km/h rate/300s
        2016-12-07T11:15:00Z ngsi:TrafficFlowObserved-Valladolid-osm-60821110 traffic.headway.mean 0.5 s rate/300s
        2016-12-07T11:15:00Z ngsi:TrafficFlowObserved-Valladolid-osm-60821110 traffic.length.mean 9.87 m rate/300s"#]].assert_eq(&said.pop_first().unwrap());
    check(
        "ngsi",
        "ngsi/water",
        "ngsi_WaterConsumptionObserved_example-normalized.jsonld",
        expect![[r#"
        2021-05-23T23:14:16Z ngsi:urn:ngsi-ld:Consumer:Consumer01 water.volume.total 191051 L counter
        2021-05-23T23:14:16Z ngsi:urn:ngsi-ld:Consumer:Consumer01 water.flow.max 620 L/h gauge
        2021-05-23T23:14:16Z ngsi:urn:ngsi-ld:Consumer:Consumer01 water.flow.min 1 L/h gauge
    "#]],
    );
}

#[test]
fn digitraffic() {
    let Some(folder) = payloads() else { return };
    let text = fs::read_to_string(folder.join("digitraffic.jsonl")).unwrap();
    let mut all = String::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (topic, payload) = (line["topic"].as_str().unwrap(), line["payload"].as_str().unwrap());
        let read = lines(
            &ready("digitraffic"),
            &message(topic, payload.as_bytes(), RECEIVED),
            &mut Memory::default(),
        );
        all.push_str(&format!("{topic}: {}\n", read.join("; ")));
    }
    expect![[r#"
        weather-v2/1012/1: 2022-11-09T05:50:21Z fi-weather:1012 air.temperature 11068 Cel gauge
        tms-v2/23001/5054: 2022-11-09T05:00:00Z fi-tms:23001 traffic.volume.dir1 108 {veh} total/3600s
        tms-v2/status: 
        tms/23307/5122: 2019-01-23T08:25:02Z fi-tms:23307 traffic.speed.dir1 84 km/h sliding/300s
    "#]]
    .assert_eq(&all);
}

#[test]
fn dsmr_telegrams() {
    check(
        "dsmr",
        "dsmr/home",
        "dsmr_telegram_v5.txt",
        expect![[r#"
        refused bad_name: ./meter is absent
    "#]],
    );
    check(
        "dsmr",
        "dsmr/home",
        "dsmr_telegram_v4_2.txt",
        expect![[r#"
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 energy.active.import 3016.8289999999997 kW.h counter
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 energy.active.import.tariff1 1581.123 kW.h counter
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 energy.active.import.tariff2 1435.706 kW.h counter
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 energy.active.export 0 kW.h counter
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 power.active 2.027 kW gauge
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 power.active.export 0 kW gauge
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 current.phase1 0 A gauge
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 current.phase2 6 A gauge
        2016-11-13T19:57:57Z dsmr:3960221976967177082151037881335713 current.phase3 2 A gauge
        2016-11-29T19:00:00Z dsmr:4819243993373755377509728609491464 gas.volume.total 981.443 m3 counter
    "#]],
    );
}
