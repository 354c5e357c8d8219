//! A simulated city ends as its answer key says, whatever goes wrong on the way; and where the tables say something else, it
//! is named.

use anyhow::ensure;
use tests::rabbitmq::{Queue, RabbitMq};
use tests::{Plan, Storage, say};

tests::at_each_level!(
    faults_end_as_the_answer_key_says_and_what_differs_is_named,
    every_format_is_stored_as_it_was_foretold,
    a_simulation_that_is_killed_is_verified_as_far_as_it_came,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_end_as_the_answer_key_says_on_the_durable_broker() {
    if !RabbitMq::is_installed() {
        return say(
            "SKIPPED faults_end_as_the_answer_key_says_on_the_durable_broker: no RabbitMQ, see deploy/setup",
        );
    }
    tests::storage::run(on_rabbitmq, Storage::Plain).await;
}

async fn on_rabbitmq(storage: Storage) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let rabbitmq = RabbitMq::start(folder.path(), Queue::Quorum)?;
    let city = Plan::up(storage).args(&["--broker-url", &rabbitmq.url()]).start().await?;
    scenarios::announce(&city, &[])?;
    let key = scenarios::simulate(&city, &rabbitmq.url(), &["--faults", "all"])?;
    let said = scenarios::verify(&city, &key)?;
    ensure!(said["differences"] == 0, "{said}");
    city.stop()?;
    Ok(())
}

mod scenarios {
    use std::fs;
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use serde_json::Value;
    use tests::{City, Plan, Storage, command};

    /// Enough for every fault to strike somebody.
    const CITY: [&str; 4] = ["--seed", "7", "--sensors", "700"];

    fn screenline(args: &[&str]) -> anyhow::Result<command::Said> {
        command::ended(command::alone(args)?)
    }

    /// Announces its sensors.
    pub fn announce(city: &City, more: &[&str]) -> anyhow::Result<()> {
        let folder = city.workplace().path().join("registry").display().to_string();
        let said = screenline(&[&["simulate", "--registry", &folder], &CITY[..], more].concat())?;
        ensure!(said.status.success(), "{}", said.err);
        let files = ["zones", "segments", "sensors", "series"].map(|name| format!("{folder}/{name}.csv"));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let said = command::run(city.workplace(), &[&["registry", "import"], &files[..]].concat())?;
        ensure!(said.status.success(), "{}", said.err);
        Ok(())
    }

    /// Ten minutes of it at once. Returns the answer key's file.
    pub fn simulate(city: &City, broker: &str, more: &[&str]) -> anyhow::Result<String> {
        let key = city.workplace().path().join("key.json").display().to_string();
        let run =
            ["simulate", "--broker-url", broker, "--for", "10m", "--speed", "max", "--key", &key, "--json"];
        let said = screenline(&[&run[..], &CITY, more].concat())?;
        ensure!(said.status.success(), "{}", said.err);
        let done: Value = serde_json::from_str(&said.out)?;
        ensure!(done["complete"] == true && done["acknowledged"] == done["messages"], "{done}");
        Ok(key)
    }

    /// What `verify` says of it.
    pub fn verify(city: &City, key: &str) -> anyhow::Result<Value> {
        let verify = ["verify", "--key", key, "--flight", city.flight_url(), "--patience", "30s", "--json"];
        let said = screenline(&verify)?;
        let report: Value = serde_json::from_str(&said.out).with_context(|| said.err.clone())?;
        ensure!(said.status.success() == (report["differences"] == 0), "the exit code is not what it says");
        Ok(report)
    }

    pub async fn faults_end_as_the_answer_key_says_and_what_differs_is_named(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        announce(&city, &[])?;
        let key = simulate(&city, city.mqtt_url(), &["--faults", "all"])?;
        let report = verify(&city, &key)?;
        ensure!(report["differences"] == 0 && report["complete"] == true, "{report}");

        // The key says in lines for people and programs what must be there.
        let text = fs::read_to_string(&key)?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(lines[0]["simulation"]["seed"] == 7, "{}", lines[0]);
        let answer = lines.iter().find_map(|line| line.get("answer")).context("no answer in the key")?;
        for reason in ["future", "unit_mismatch"] {
            ensure!(answer["rejected"][reason].as_i64() > Some(0), "{answer}");
        }
        let series = lines.iter().filter(|line| line.get("series").is_some()).count();
        ensure!(answer["series"] == series, "{answer}");
        let stored: i64 = city
            .database()
            .query_one("SELECT (SELECT count(*) FROM reading) + (SELECT count(*) FROM event)", &[])
            .await?
            .get(0);
        ensure!(answer["ledger"]["stored"] == stored, "{answer}, and {stored} rows");

        // One reading is taken away, one is changed, one is made up, and a rejection disappears.
        let database = city.connect().await?;
        let tamper = "
            DELETE FROM reading WHERE (time, series_id) = (SELECT time, series_id FROM reading
                ORDER BY time, series_id LIMIT 1);
            UPDATE reading SET value = value + 1 WHERE (time, series_id) = (SELECT time, series_id FROM reading
                WHERE quality = 0 ORDER BY time DESC, series_id LIMIT 1);
            INSERT INTO reading (time, series_id, value, quality, received_at)
                SELECT time + interval '1 second', series_id, value, quality, received_at
                FROM reading ORDER BY time, series_id LIMIT 1;
            DELETE FROM rejection WHERE id = (SELECT min(id) FROM rejection);";
        database.batch_execute(tamper).await?;
        let report = verify(&city, &key)?;
        let named = report["named"].as_array().context("no differences are named")?;
        let of = |invariant: &str| named.iter().filter(|one| one["invariant"] == invariant).count();
        ensure!(2 <= of("I1"), "what is missing is not named: {report}");
        ensure!(2 <= of("I2"), "what is made up is not named: {report}");
        ensure!(report["holds"] == false, "{report}");

        // A key that was changed is none.
        fs::write(&key, text.replacen("\"readings\":10,", "\"readings\":11,", 1))?;
        let said = screenline(&["verify", "--key", &key, "--flight", city.flight_url()])?;
        ensure!(!said.status.success() && said.err.contains("changed since"), "{}", said.err);
        city.stop()?;
        Ok(())
    }

    pub async fn every_format_is_stored_as_it_was_foretold(storage: Storage) -> anyhow::Result<()> {
        let formats = simulators::speech::Format::ALL.into_iter().filter(|format| format.keeps_time());
        let names = formats.map(|format| format.name()).collect::<Vec<_>>().join(",");
        let city = Plan::up(storage).args(&["--mappings", &names]).start().await?;
        announce(&city, &["--formats", &names])?;
        let key = simulate(&city, city.mqtt_url(), &["--formats", &names, "--faults", "all"])?;
        let report = verify(&city, &key)?;
        ensure!(report["differences"] == 0, "{report}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_simulation_that_is_killed_is_verified_as_far_as_it_came(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        announce(&city, &[])?;
        let key = city.workplace().path().join("killed.json").display().to_string();
        let run = [
            "simulate",
            "--broker-url",
            city.mqtt_url(),
            "--for",
            "10m",
            "--speed",
            "100x",
            "--faults",
            "all",
            "--key",
            &key,
        ];
        let mut simulation = command::alone(&[&run[..], &CITY].concat())?.spawn()?;
        let some = async || {
            let far = fs::read_to_string(&key).unwrap_or_default();
            Ok((20 < far.matches("\"far\"").count()).then_some(()))
        };
        city.eventually("some ticks of the simulation", some).await?;
        simulation.kill()?;
        simulation.wait()?;
        // What was sent and not acknowledged is on its way for a moment.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let report = verify(&city, &key)?;
        ensure!(report["differences"] == 0 && report["complete"] == false, "{report}");
        city.stop()?;
        Ok(())
    }
}
