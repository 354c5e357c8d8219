//! The bundled feeds say what their sources say. Skipped, visibly, where the sources are absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Feed;
use crate::recording::Message;
use crate::say;
use jiff::Timestamp;
use serde_json::Value;

fn source(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    if !folder.is_dir() {
        say(&format!("SKIPPED: {} is absent: the bundle is not compared with its source", folder.display()));
        return None;
    }
    Some(folder)
}

fn gunzip(path: &Path) -> String {
    let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn messages(name: &str) -> Vec<Message> {
    let recording = Feed::named(name).unwrap().recording().unwrap();
    assert_eq!(recording.header().name, name);
    recording.read().unwrap().collect::<Result<_, _>>().unwrap()
}

fn rows(text: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes()).records().collect::<Result<_, _>>().unwrap()
}

fn text(message: &Message) -> &str {
    str::from_utf8(&message.payload).unwrap()
}

#[test]
fn wntr_net3_is_the_arrival_stream_row_for_row() {
    let messages = messages("wntr-net3");
    assert_eq!(messages.len(), 40_808);
    let Some(folder) = source("wntr-net3") else { return };
    let rows = rows(&gunzip(&folder.join("readings.csv.gz")));
    assert_eq!(rows.len(), messages.len());
    for (row, message) in rows.iter().zip(&messages) {
        assert_eq!(message.t, row[0].parse::<Timestamp>().unwrap());
        assert_eq!(message.topic, format!("city/water/{}/register", &row[2]));
        assert_eq!(text(message), format!(r#"{{"time":"{}","register_m3":{}}}"#, &row[1], &row[3]));
    }
}

#[test]
fn wntr_net3_has_its_61_registers_in_the_registry() {
    let feed = Feed::named("wntr-net3").unwrap();
    let (sensors, series) = (rows(feed.sensors_csv), rows(feed.series_csv));
    assert_eq!((sensors.len(), series.len()), (61, 61));
    assert_eq!(sensors.iter().filter(|row| &row[10] == "inlet").count(), 2);
    let Some(folder) = source("wntr-net3") else { return };
    let meters = rows(&fs::read_to_string(folder.join("meters.csv")).unwrap());
    for ((meter, sensor), series) in meters.iter().zip(&sensors).zip(&series) {
        assert_eq!((&meter[0], &meter[6], &meter[7]), (&sensor[0], &sensor[3], &sensor[4]));
        assert_eq!((&meter[0], &meter[3], &meter[4]), (&series[0], &series[5], &series[6]));
    }
}

#[test]
fn sumo_grid_has_every_passage_and_every_interval() {
    let messages = messages("sumo-grid");
    let (passages, intervals): (Vec<&Message>, _) =
        messages.iter().partition(|message| message.topic.ends_with("/passage"));
    assert_eq!((passages.len(), intervals.len()), (11_063, 4_320));
    let Some(folder) = source("sumo-grid") else { return };

    let mut expected = BTreeSet::new();
    for row in rows(&gunzip(&folder.join("vehicle_events.csv.gz"))) {
        let vehicle = row[1].replace("incident_", "100000");
        let ms = |text: &str| (text.parse::<f64>().unwrap() * 1_000.0).round() as i64;
        let (speed, length) = (row[5].to_owned(), row[6].to_owned());
        expected.insert((
            row[0].to_owned(),
            vehicle,
            ms(&row[3]),
            ms(&row[4]),
            row[2].to_owned(),
            speed,
            length,
        ));
    }
    let start: Timestamp = "2024-05-14T05:00:00Z".parse().unwrap();
    let after_start = |t: Timestamp| t.as_millisecond() - start.as_millisecond();
    let mut found = BTreeSet::new();
    for message in passages {
        let json: Value = serde_json::from_slice(&message.payload).unwrap();
        let number = |field: &str| {
            let rest = text(message).split_once(&format!("\"{field}\":")).unwrap().1;
            rest.split([',', '}']).next().unwrap().to_owned()
        };
        let (enter, leave) = (json["entered"].as_str().unwrap().parse::<Timestamp>().unwrap(), message.t);
        let on_time_ms = (json["on_time_s"].as_f64().unwrap() * 1_000.0).round() as i64;
        assert_eq!(on_time_ms, leave.as_millisecond() - enter.as_millisecond(), "{}", text(message));
        let detector = message.topic.split('/').nth(2).unwrap().to_owned();
        let class = json["class"].as_str().unwrap().to_owned();
        let (vehicle, enter, leave) = (number("vehicle"), after_start(enter), after_start(leave));
        found.insert((detector, vehicle, enter, leave, class, number("speed_mps"), number("length_m")));
    }
    assert_eq!(found.len(), 11_063);
    assert!(found == expected, "first difference: {:?}", found.symmetric_difference(&expected).next());

    let xml = fs::read_to_string(folder.join("e1.xml")).unwrap();
    let mut expected = BTreeMap::new();
    for line in xml.lines().filter(|line| line.contains("<interval ")) {
        let value =
            |name: &str| line.split_once(&format!(" {name}=\"")).unwrap().1.split('"').next().unwrap();
        let end = start.as_second() + value("end").parse::<f64>().unwrap() as i64;
        let key = (value("id").to_owned(), end);
        let number = |name: &str| value(name).parse::<f64>().unwrap();
        let speed = Some(number("speed")).filter(|speed| *speed >= 0.0);
        expected.insert(key, (number("nVehContrib"), number("occupancy"), speed));
    }
    let mut found = BTreeMap::new();
    for message in intervals {
        let pack: Value = serde_json::from_slice(&message.payload).unwrap();
        let detector = message.topic.split('/').nth(2).unwrap();
        assert_eq!(pack[0]["bn"], format!("{detector}:"));
        assert_eq!(pack[0]["bt"], message.t.as_second());
        let value =
            |name| pack.as_array().unwrap().iter().find(|r| r["n"] == name).map(|r| r["v"].as_f64().unwrap());
        let key = (detector.to_owned(), message.t.as_second());
        found.insert(key, (value("volume").unwrap(), value("occupancy").unwrap(), value("speed")));
    }
    assert!(found == expected);
}

#[test]
fn sumo_grid_has_its_48_detectors_in_the_registry() {
    let feed = Feed::named("sumo-grid").unwrap();
    let (sensors, series) = (rows(feed.sensors_csv), rows(feed.series_csv));
    assert_eq!((sensors.len(), series.len()), (48, 4 * 48));
    let Some(folder) = source("sumo-grid") else { return };
    let detectors = rows(&fs::read_to_string(folder.join("detectors.csv")).unwrap());
    for (detector, sensor) in detectors.iter().zip(&sensors) {
        let expected = [0, 9, 10, 1, 3, 2, 5].map(|column| &detector[column]);
        assert_eq!([0, 3, 4, 5, 6, 7, 8].map(|column| &sensor[column]), expected);
    }
}

#[test]
fn sumo_grid_has_its_detectors_beside_the_lines_of_their_segments() {
    let feed = Feed::named("sumo-grid").unwrap();
    let number = |text: &str| text.parse::<f64>().unwrap();
    let segments: BTreeMap<String, csv::StringRecord> =
        rows(feed.places_csv).into_iter().map(|row| (row[0].to_owned(), row)).collect();
    for sensor in rows(feed.sensors_csv) {
        let segment = &segments[&sensor[5]];
        let part = number(&sensor[8]) / number(&segment[4]);
        for (place, from, to) in [(3, 7, 9), (4, 8, 10)] {
            let line = number(&segment[from]) + part * (number(&segment[to]) - number(&segment[from]));
            // Half a lane, in degrees.
            assert!((line - number(&sensor[place])).abs() < 3e-5, "{sensor:?}");
        }
    }
}
