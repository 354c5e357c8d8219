//! The shared data through the importers. Skipped, visibly, where it is absent.

use super::*;

fn source(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    if !path.exists() {
        say(&format!("SKIPPED: {} is absent: nothing is imported from it", path.display()));
        return None;
    }
    Some(path)
}

const START_US: i64 = 1_715_662_800_000_000;

/// Vehicles by detector and interval, as the file itself has them.
fn entered(xml: &str) -> BTreeMap<(String, i64), i64> {
    let intervals = xml.lines().filter(|line| line.contains("<interval "));
    let counts = intervals.map(|line| {
        let value =
            |name: &str| line.split_once(&format!(" {name}=\"")).unwrap().1.split('"').next().unwrap();
        let minute = value("begin").parse::<f64>().unwrap() as i64 / 60;
        ((value("id").to_owned(), minute), value("nVehEntered").parse().unwrap())
    });
    counts.collect()
}

#[test]
fn every_interval_and_every_passage_of_the_grid() {
    let (Some(xml), Some(events)) = (source("sumo-grid/e1.xml"), source("sumo-grid/vehicle_events.csv.gz"))
    else {
        return;
    };
    let due = entered(&fs::read_to_string(&xml).unwrap());
    let mut counted = BTreeMap::new();
    let found = importer(Format::SumoE1)
        .read(&xml, &mut |fact| {
            if let Fact::Reading { sensor, reading, .. } = fact
                && reading.metric == "traffic.volume"
            {
                let minute = (reading.time_us - START_US) / 60_000_000 - 1;
                counted.insert((sensor.to_owned(), minute), reading.value.digits);
            }
            Ok(())
        })
        .unwrap();
    assert!(counted == due, "the counts of the XML file");
    assert_eq!((due.len(), due.values().sum::<i64>(), found.sensors()), (4_320, 11_064, 48));

    // SUMO moves in steps of half a second, and takes a vehicle to have entered in the step that finds it on the loop.
    let (mut by_time, mut by_step) = (BTreeMap::new(), BTreeMap::new());
    let found = importer(Format::SumoEvents)
        .read(&events, &mut |fact| {
            let Fact::Passage { detector, passage } = fact else { panic!("a reading") };
            let after_us = passage.time_us - START_US;
            let step_us = (after_us + 499_999).div_euclid(500_000) * 500_000;
            *by_time.entry((detector.to_owned(), after_us / 60_000_000)).or_insert(0) += 1;
            *by_step.entry((detector.to_owned(), step_us / 60_000_000)).or_insert(0) += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((found.passages, found.sensors()), (11_063, 48));
    let of = |counts: &BTreeMap<_, i64>, key| counts.get(key).copied().unwrap_or(0);
    let other: Vec<_> = due.iter().filter(|(key, count)| of(&by_time, *key) != **count).collect();
    assert!(other.iter().all(|(key, count)| (of(&by_time, *key) - **count).abs() == 1), "{other:?}");
    assert_eq!(other.len(), 155);
    // By steps three differ. A vehicle was on a loop as the simulation ended, and never left. Another entered at 899.50,
    // rounded to where a step ends: SUMO had it just after.
    let other = due.iter().map(|(key, count)| (key.0.as_str(), key.1, *count, of(&by_step, key)));
    let other: Vec<_> = other.filter(|(_, _, due, steps)| due != steps).collect();
    assert_eq!(other, [("e1_C1C0_1", 14, 1, 2), ("e1_C1C0_1", 15, 1, 0), ("e1_D1C1_1", 89, 5, 4)]);
}

#[test]
fn the_registers_of_the_network_fit_a_long_table() {
    let Some(readings) = source("wntr-net3/readings.csv.gz") else { return };
    let columns = Some(Columns::parse(LONG).unwrap());
    let found = Importer { columns, ..Importer::new(Format::Long) }.read(&readings, &mut |_| Ok(())).unwrap();
    assert_eq!((found.readings, found.sensors()), (40_808, 61));
}

#[test]
fn the_speeds_of_los_angeles_fit_a_wide_table() {
    let Some(speeds) = source("metr-la/speed_5min_mph.csv.gz") else { return };
    let columns = WIDE.split("[[column]]").next().unwrap().replace("\"t\"", "\"local_time\"");
    let columns = Some(Columns::parse(&columns).unwrap());
    let found = Importer { columns, ..Importer::new(Format::Wide) }.read(&speeds, &mut |_| Ok(())).unwrap();
    assert_eq!((found.readings + found.left_out.values().sum::<u64>(), found.sensors()), (7 * 288 * 40, 40));
    assert_eq!(found.span.unwrap().0.to_string(), "2012-03-01T08:05:00Z");
}
