//! What the meters of a zone say together, from the broker to the screen.

tests::at_each_level!(a_leak_is_in_the_balance_and_in_the_night, demand_has_its_peaks_and_its_factor);

mod scenarios {
    use std::{fmt::Write, fs, path::Path, sync::Arc};

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use serde_json::Value;
    use simulators::replay::Speed;
    use tests::{City, Storage, command};

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn column(rows: &Value, name: &str) -> Vec<f64> {
        rows.as_array().into_iter().flatten().map(|row| row[name].as_f64().unwrap_or(f64::NAN)).collect()
    }

    pub async fn a_leak_is_in_the_balance_and_in_the_night(storage: Storage) -> anyhow::Result<()> {
        let truth = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/data/wntr-net3/truth_balance_hourly_m3.csv");
        let Ok(truth) = fs::read_to_string(&truth) else {
            eprintln!("SKIPPED: no {}", truth.display());
            return Ok(());
        };
        let city = City::up(storage).await?;
        city.import_registry("wntr-net3")?;
        // What a utility has from its SCADA: the water that comes into all of its network, and what stays in the tanks. The
        // two inlets of the metered area within are none of the network.
        let zones = "id,name,parent\nnet3,,\nDMA-1,district metered area 1,net3\n";
        let sensors = "id,kind,zone,role\nwells,w-meter,net3,inlet\ntanks,tank,net3,storage\n";
        let series = "sensor,metric,unit,kind,interval_s\n\
                      wells,water.volume,m3,total,3600\ntanks,water.volume,m3,total,3600\n";
        let zones = write(&city, "zones.csv", zones)?;
        let inlets = write(&city, "inlets.csv", sensors)?;
        let totals = write(&city, "totals.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &zones, &inlets, &totals])?;
        city.replay_feed("wntr-net3", Speed::Max, Arc::default()).await?;
        let [mut wells, mut tanks] = ["wells", "tanks"].map(|name| format!(r#"[{{"bn":"{name}:"}}"#));
        for line in truth.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let ends_s = cells[0].parse::<Timestamp>()?.as_second() + 3_600;
            for (pack, value) in [(&mut wells, cells[1]), (&mut tanks, cells[2])] {
                write!(pack, r#",{{"n":"water.volume","u":"m3","t":{ends_s},"v":{value}}}"#)?;
            }
        }
        let packs = [wells, tanks].map(|pack| ("city/senml/scada".to_owned(), (pack + "]").into_bytes()));
        city.publish_all(packs.into()).await?;
        city.settled().await?;

        let week = ["--from", "2024-01-01", "--to", "2024-01-08"];
        let said = command::json(city.workplace(), &[&["utility", "balance", "net3"], &week[..]].concat())?;
        for (name, expected) in [
            ("nrw_percent", [0.0, 0.0, 0.0, 6.0, 8.1, 11.4, 11.4]),
            ("nrw_percent_imputed", [0.0, 0.0, 0.0, 6.0, 7.8, 7.8, 7.8]),
        ] {
            let found = column(&said["days"], name);
            let near =
                found.iter().zip(expected).all(|(ours, theirs): (&f64, f64)| (ours - theirs).abs() <= 0.1);
            ensure!(found.len() == 7 && near, "{name}: {found:?}");
        }
        let nights = [&["utility", "nights", "net3", "--json"], &week[..]].concat();
        let nights = command::run(city.workplace(), &nights)?;
        ensure!(!nights.status.success(), "an alarm is exit code 1");
        let nights: Value = serde_json::from_str(&nights.out).context(nights.err)?;
        let alarm = nights["nights"].as_array().into_iter().flatten().find(|night| night["alarm"] == true);
        ensure!(alarm.context("no alarm")?["night"] == "2024-01-05", "{nights}");

        let stuck = ["--impute", "--width", "1h", "--from", "2024-01-06", "--to", "2024-01-07"];
        let said = command::json(
            city.workplace(),
            &[&["measure", "water.volume.total", "WM-117"], &stuck[..]].concat(),
        )?;
        let estimates = column(&said["buckets"], "imputed");
        ensure!(estimates.len() == 24 && 0.0 < estimates.iter().sum::<f64>(), "{said}");
        ensure!(said["buckets"][0]["imputed_by"] == "same time of other days", "{said}");
        ensure!(column(&said["buckets"], "counted").iter().all(|counted| *counted == 0.0), "{said}");

        ensure!(column(&said["buckets"], "completed") == estimates, "nothing was observed: {said}");
        // A period that begins within a day has the whole day.
        let part = ["utility", "balance", "net3", "--from", "2024-01-05T14:37", "--to", "2024-01-05T15:00"];
        let part = command::json(city.workplace(), &part)?;
        let whole = command::json(city.workplace(), &[&["utility", "balance", "net3"], &week[..]].concat())?;
        ensure!(part["days"][0]["nrw_percent"] == whole["days"][4]["nrw_percent"], "{part}");

        let leaks = ["utility", "leaks", "net3", "--day", "2024-01-06", "--json"];
        let leaks = command::run(city.workplace(), &leaks)?;
        ensure!(!leaks.status.success(), "a leak is exit code 1");
        let leaks: Value = serde_json::from_str(&leaks.out).context(leaks.err)?;
        ensure!(leaks["customers"] == 59, "{leaks}");
        let mut sensors = leaks["leaks"].as_array().into_iter().flatten().map(|leak| &leak["sensor"]);
        // It stuck the day before.
        ensure!(sensors.clone().next().is_some() && sensors.all(|sensor| sensor != "WM-117"), "{leaks}");

        // What is in a tank is not known by its level.
        let level = write(&city, "level.csv", "id,kind,zone,role\ntower,tank,net3,storage\n")?;
        command::json(city.workplace(), &["registry", "import", &level])?;
        let refused = command::run(city.workplace(), &["utility", "balance", "net3"])?;
        ensure!(!refused.status.success() && refused.err.contains("storage tower"), "{}", refused.err);
        city.stop()?;
        Ok(())
    }

    pub async fn demand_has_its_peaks_and_its_factor(storage: Storage) -> anyhow::Result<()> {
        const START_S: i64 = 1_704_067_200; // 2024-01-01T00:00:00Z
        let city = City::up(storage).await?;
        let sensors = write(&city, "sensors.csv", "id,kind\nworks,e-meter\n")?;
        let series = "sensor,metric,unit,kind,interval_s,resolution\n\
                      works,energy.active,kW.h,counter,300,0.001\n\
                      works,energy.reactive,kV.A.h{reactive},total,900,\n";
        let series = write(&city, "series.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &sensors, &series])?;
        // A register every five minutes: 1 kWh each, and 6, 9 and 6 around 12:05 to 12:20.
        let mut pack = String::from(r#"[{"bn":"works:"}"#);
        let mut register = 100;
        for five in 0..=288 {
            let t = START_S + 300 * five;
            write!(pack, r#",{{"n":"energy.active","u":"kWh","t":{t},"v":{register}}}"#)?;
            register += match five {
                145 | 147 => 6,
                146 => 9,
                _ => 1,
            };
        }
        for quarter in 1..=96 {
            let t = START_S + 900 * quarter;
            write!(pack, r#",{{"n":"energy.reactive","u":"kvarh","t":{t},"v":2.5}}"#)?;
        }
        city.publish("city/senml/works", pack + "]").await?;
        city.settled().await?;
        let day = ["--from", "2024-01-01", "--to", "2024-01-02", "--reactive", "energy.reactive"];
        let said = command::json(
            city.workplace(),
            &[&["utility", "demand", "energy.active", "works", "--step", "15m"], &day[..]].concat(),
        )?;
        let day = &said["days"][0];
        // Blocks of 12:00 with 1 + 6 + 9 kWh, 288 + 18 of the day, and 240 kvarh.
        ensure!(day["peak"] == 64.0 && day["peak_from"] == "12:00", "{day}");
        ensure!(day["energy"] == 306.0, "{day}");
        let factor = 306.0 / f64::hypot(306.0, 240.0);
        ensure!((day["power_factor"].as_f64().context("factor")? - factor).abs() < 1e-9, "{day}");
        let sliding =
            ["utility", "demand", "energy.active", "works", "--from", "2024-01-01", "--to", "2024-01-02"];
        let said = command::json(city.workplace(), &sliding)?;
        let day = &said["days"][0];
        ensure!(day["sliding_peak"] == 84.0 && day["sliding_from"] == "12:05", "{day}");
        city.stop()?;
        Ok(())
    }
}
