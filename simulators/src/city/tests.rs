//! A city keeps the laws of nature, and is the same wherever it is made.

use std::collections::BTreeMap;

use super::*;

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn city(sensors: u32) -> City {
    let (starts_us, ends_us) = (at("2026-11-23T06:00:00Z"), at("2026-11-23T08:00:00Z"));
    City::new(Plan { seed: 7, sensors, prefix: "sim7".to_owned(), starts_us, ends_us })
}

/// What a sensor says at a time, by metric.
fn said(city: &City, sensor: u32, time_us: i64) -> BTreeMap<&'static str, Decimal> {
    let mut said = BTreeMap::new();
    city.report(sensor, time_us, |_, reading| {
        assert!(said.insert(reading.metric, reading.value).is_none());
    });
    said
}

fn of_role(city: &City, role: Role) -> Vec<u32> {
    (0..city.sensors()).filter(|sensor| city.role(*sensor) == role).collect()
}

#[test]
fn names_are_unique_and_readings_are_of_the_roles_series_and_in_range() {
    let city = city(250);
    let mut names = std::collections::HashSet::new();
    for sensor in 0..city.sensors() {
        assert!(names.insert(city.id(sensor)));
        let all = series::of(city.role(sensor));
        for minute in 0..120 {
            let time = city.plan.starts_us + minute * MINUTE_US;
            let said = said(&city, sensor, time);
            assert!(said.len() <= city.role(sensor).readings(), "{:?}", city.role(sensor));
            for (metric, value) in said {
                let series = all.iter().find(|series| series.metric == metric).unwrap();
                let (min, max) = series.range;
                assert!(
                    min <= value.value() && value.value() <= max,
                    "{metric} {value} of {}",
                    city.id(sensor)
                );
                assert_eq!(value.places, series.places, "{metric}");
            }
        }
    }
}

#[test]
fn what_meters_show_balances_to_the_last_digit() {
    for sensors in [10, 57, 300] {
        let city = city(sensors);
        for district in 0..city.districts().len() as u32 {
            let inside = |role| {
                let all = of_role(&city, role).into_iter();
                all.filter(|sensor| sensor / DISTRICT as u32 == district).collect::<Vec<u32>>()
            };
            let step = |sensors: &[u32], metric: &str, minute: i64| -> i64 {
                let show = |minute: i64| {
                    let time = city.plan.starts_us + minute * MINUTE_US;
                    sensors.iter().map(|sensor| said(&city, *sensor, time)[metric].digits).sum::<i64>()
                };
                show(minute + 1) - show(minute)
            };
            let (inlet, tank) = (inside(Role::WaterInlet), inside(Role::Tank));
            if !inlet.is_empty() {
                let water = &city.districts()[district as usize].water;
                let first = city.plan.starts_us / MINUTE_US;
                for minute in [0, 30, 47, 90] {
                    let leaked = water.leaked(first + minute + 1) - water.leaked(first + minute);
                    let used = step(&inside(Role::WaterCustomer), "water.volume.total", minute);
                    let stored = step(&tank, "water.level", minute);
                    let came = step(&inlet, "water.volume.total", minute);
                    // Without a tank in the sample nobody sees what it holds.
                    if !tank.is_empty() {
                        assert_eq!(came, used + stored + leaked, "district {district}, minute {minute}");
                    }
                }
            }
            let feeder = inside(Role::Feeder);
            if !feeder.is_empty() {
                let power = &city.districts()[district as usize].power;
                let first = city.plan.starts_us / MINUTE_US;
                let customers = [Role::HomePower, Role::Solar, Role::WorkPower].map(inside).concat();
                for minute in [0, 40, 60] {
                    let lost = power.losses(&city.demand, first + minute + 1)
                        - power.losses(&city.demand, first + minute);
                    let used = step(&customers, "energy.active.import", minute);
                    let fed = step(&inside(Role::Solar), "energy.active.export", minute);
                    assert_eq!(step(&feeder, "energy.active.import", minute) + fed, used + lost);
                }
            }
        }
    }
}

#[test]
fn an_interval_and_its_single_vehicles_say_the_same() {
    let city = city(100);
    for sensor in of_role(&city, Role::QuickLoop) {
        for step in 0..90 {
            let time = city.plan.starts_us + step * 20 * SECOND_US;
            let said = said(&city, sensor, time);
            let (mut count, mut on_cs, mut speeds) = (0, 0, 0.0);
            city.passages(sensor, (time - 20 * SECOND_US, time), |passage| {
                count += 1;
                on_cs += passage.on_time.digits;
                speeds += passage.speed.value() * 3.6;
            });
            assert_eq!(said["traffic.volume"].digits, count);
            assert!((said["traffic.occupancy"].value() - (on_cs as f64 / 20.0).min(100.0)).abs() < 0.051);
            match said.get("traffic.speed.mean") {
                Some(speed) => assert!((speed.value() - speeds / count as f64).abs() < 0.051),
                None => assert_eq!(count, 0),
            }
        }
    }
}

#[test]
fn measured_flow_speed_and_density_lie_below_the_fundamental_diagram() {
    let city = city(200);
    let mut queued = 0;
    for sensor in of_role(&city, Role::Loop) {
        let (direction, _, at_m) = city.stand(sensor);
        let road = &city.district_of(sensor).roads[direction];
        // Over whole cycles of its signal: within one, a queue leaves faster than the mean.
        let step_us = road.cycle_s() * 10 * SECOND_US;
        let mut from = city.plan.starts_us;
        while from + step_us <= city.plan.ends_us {
            let (mut count, mut slowness) = (0.0, 0.0);
            city.passages(sensor, (from, from + step_us), |passage| {
                count += 1.0;
                slowness += 1.0 / passage.speed.value();
            });
            if 0.0 < count {
                let per_s = count / (step_us as f64 / 1e6);
                let speed = count / slowness;
                let flow = road.flow(&city.demand, at_m, from, from + step_us);
                queued += usize::from(flow.queued);
                // A count of so many has a spread of its root.
                assert!(per_s <= road.capacity() + 4.0 * count.sqrt() / (step_us as f64 / 1e6), "{per_s}");
                assert!(speed <= road.free_mps * 1.13);
                // Vehicles in a metre: never more than stand in a jam.
                assert!(per_s / speed <= 0.16, "{per_s} at {speed}");
            }
            from += step_us;
        }
    }
    assert!(0 < queued, "the incident of the first district is seen");
}

/// The first bytes of a city that a machine made in 2026: another one, or another thread, makes the same.
#[test]
fn a_seed_is_the_same_city_everywhere() {
    let city = city(300);
    let digest = |sensors: &mut dyn Iterator<Item = u32>| {
        let mut sum = 0u64;
        for sensor in sensors {
            let mut text = city.id(sensor).into_bytes();
            for minute in 0..30 {
                let time = city.plan.starts_us + minute * MINUTE_US;
                city.report(sensor, time, |_, reading| text.extend(format!("{reading:?}").into_bytes()));
                city.passages(sensor, (time, time + MINUTE_US), |passage| {
                    text.extend(format!("{passage:?}").into_bytes());
                });
            }
            sum = sum.wrapping_add(xxhash_rust::xxh3::xxh3_64(&text));
        }
        sum
    };
    let forwards = digest(&mut (0..city.sensors()));
    assert_eq!(forwards, digest(&mut (0..city.sensors()).rev()), "the order in which it is asked matters");
    let city = &city;
    let halves = std::thread::scope(|scope| {
        let halves = [0..150, 150..300].map(|mut half: std::ops::Range<u32>| {
            scope.spawn(move || {
                let digest = |sensor: u32| {
                    let mut text = Vec::new();
                    city.report(sensor, city.plan.starts_us, |_, reading| {
                        text.extend(format!("{reading:?}").into_bytes());
                    });
                    xxhash_rust::xxh3::xxh3_64(&text)
                };
                half.by_ref().map(digest).fold(0u64, u64::wrapping_add)
            })
        });
        halves.map(|half| half.join().unwrap())
    });
    assert_ne!(halves[0], halves[1]);
    expect_test::expect!["7f86cdb5007efc94"].assert_eq(&format!("{forwards:016x}"));
}

#[test]
fn a_registry_has_every_sensor_and_series_once() {
    let city = city(200);
    let files = registry::files(&city, |sensor, metric| Some(stored(&city, sensor, metric)));
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["zones.csv", "segments.csv", "sensors.csv", "series.csv"]);
    assert_eq!(files[2].text.lines().count(), 201);
    let series: usize = (0..200).map(|sensor| series::of(city.role(sensor)).len()).sum();
    assert_eq!(files[3].text.lines().count(), 1 + series);
    assert!(files[1].text.contains("sim7_00001-EB0-1,EB,sim7_00001-EB0,sim7_00001-EB1,500,100,97.2,2,"));
}

#[test]
fn a_detector_stands_on_its_segment_and_inside_its_district() {
    let city = city(250);
    let files = registry::files(&city, |sensor, metric| Some(stored(&city, sensor, metric)));
    let rows = |at: usize| -> Vec<csv::StringRecord> {
        csv::Reader::from_reader(files[at].text.as_bytes()).records().collect::<Result<_, _>>().unwrap()
    };
    let number = |text: &str| text.parse::<f64>().unwrap();
    let ends: BTreeMap<String, [f64; 4]> =
        rows(1).iter().map(|row| (row[0].to_owned(), [9, 10, 11, 12].map(|at| number(&row[at])))).collect();
    let areas: BTreeMap<String, serde_json::Value> =
        rows(0).iter().map(|row| (row[0].to_owned(), serde_json::from_str(&row[3]).unwrap())).collect();
    let mut detectors = 0;
    for row in rows(2) {
        let (lon, lat) = (number(&row[3]), number(&row[4]));
        let corner = |at: usize| areas[&row[9]]["coordinates"][0][at].clone();
        let inside = |at: usize, place: f64| {
            corner(0)[at].as_f64().unwrap() < place && place < corner(2)[at].as_f64().unwrap()
        };
        assert!(inside(0, lon) && inside(1, lat), "{row:?}");
        let Some([from_lon, from_lat, to_lon, to_lat]) = ends.get(&row[5]) else { continue };
        let part = number(&row[8]) / road::SEGMENT_M;
        assert!((from_lon + part * (to_lon - from_lon) - lon).abs() < 2e-6, "{row:?}");
        assert!((from_lat + part * (to_lat - from_lat) - lat).abs() < 2e-6, "{row:?}");
        detectors += 1;
    }
    assert!(50 < detectors);
}

fn stored(city: &City, sensor: u32, metric: &str) -> crate::speech::Stored {
    crate::speech::Stored {
        sensor: city.id(sensor),
        metric: metric.to_owned(),
        time_us: 0,
        event_id: None,
        value: 0.0,
        unit: "1".to_owned(),
        interval_s: 0,
    }
}
