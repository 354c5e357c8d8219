//! The private broker with logins: who has one writes below its own name, and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use simulators::recording::{Header, Message, Writer};
use tests::process::{Process, Workplace, run};
use tests::{City, Plan, Storage};
use tokio::task::block_in_place;

tests::at_each_level!(a_login_is_for_its_own_topics_and_comes_and_goes_under_a_running_broker);

const MESSAGES: i64 = 100;

mod scenarios {
    pub use super::a_login_is_for_its_own_topics_and_comes_and_goes_under_a_running_broker;
}

/// `screenline gateway ...` for a data folder: what it printed.
fn gateway(data: &Path, args: &[&str]) -> anyhow::Result<String> {
    let data = data.display().to_string();
    let output = run(&[&["gateway"], args, &["--data", &data]].concat(), &[])?;
    ensure!(output.status.success(), "gateway {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub async fn a_login_is_for_its_own_topics_and_comes_and_goes_under_a_running_broker(
    storage: Storage,
) -> anyhow::Result<()> {
    let workplace = Workplace::new()?;
    let data = workplace.data();
    let first = block_in_place(|| gateway(&data, &["add", "gate-1"]))?;
    let city = Plan::up(storage).on(workplace).start().await?;
    let late = block_in_place(|| gateway(&data, &["add", "gate-2"]))?;
    ensure!(block_in_place(|| gateway(&data, &["list"]))? == "gate-1\ngate-2", "the logins are listed");

    // Nobody, somebody without the password, and somebody on another's topic.
    ensure!(!enters(&city, None).await?, "nobody is let in");
    ensure!(!enters(&city, Some(("gate-1", "guessed"))).await?, "a guess is let in");
    for (name, password) in [("gate-1", &first), ("gate-2", &late)] {
        ensure!(enters(&city, Some((name, password))).await?, "{name} is let in");
        send(&city, name, password)?;
    }
    publish(&city, ("gate-1", &first), "gateway/gate-2/city/senml/forged", "forged").await?;
    publish(&city, ("gate-1", &first), "city/senml/forged", "forged").await?;

    city.settled_at(2 * MESSAGES as u64).await?;
    let sql = "SELECT (SELECT count(*) FROM reading), (SELECT count(*) FROM sensor WHERE id LIKE 'forged%'),
                      (SELECT string_agg(source || ' ' || seen::text, ', ' ORDER BY source) FROM source_position)";
    let row = city.database().query_one(sql, &[]).await?;
    let (readings, forged, positions): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
    ensure!(readings == 2 * MESSAGES && forged == 0, "{readings} readings, {forged} forged sensors");
    ensure!(positions == "gate-1 {[1,101)}, gate-2 {[1,101)}", "{positions}");

    block_in_place(|| gateway(&data, &["remove", "gate-2"]))?;
    let gone = async || Ok((!enters(&city, Some(("gate-2", &late))).await?).then_some(()));
    city.eventually("a removed login is refused", gone).await?;
    ensure!(!secret_in(&data, &first)?, "a password is kept readable");
    city.stop()?;
    Ok(())
}

/// Whether the broker lets somebody in.
async fn enters(city: &City, login: Option<(&str, &str)>) -> anyhow::Result<bool> {
    let (_client, mut events) = AsyncClient::new(options(city, login)?, 10);
    Ok(matches!(events.poll().await, Ok(Event::Incoming(Incoming::ConnAck(_)))))
}

/// Publishes what is forbidden. The broker drops it, and may hang up on us.
async fn publish(city: &City, login: (&str, &str), topic: &str, sensor: &str) -> anyhow::Result<()> {
    let (client, mut events) = AsyncClient::new(options(city, Some(login))?, 10);
    while !matches!(events.poll().await?, Event::Incoming(Incoming::ConnAck(_))) {}
    client.try_publish(topic, QoS::AtLeastOnce, false, pack(sensor, 0))?;
    while !matches!(events.poll().await, Ok(Event::Incoming(Incoming::PubAck(_))) | Err(_)) {}
    Ok(())
}

fn options(city: &City, login: Option<(&str, &str)>) -> anyhow::Result<MqttOptions> {
    let address = city.mqtt_url().strip_prefix("mqtt://127.0.0.1:").context("the broker's address")?;
    let mut options = MqttOptions::new("somebody", "127.0.0.1", address.parse()?);
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    Ok(options)
}

fn pack(sensor: &str, minute: i64) -> Vec<u8> {
    format!(r#"[{{"bn":"{sensor}:","bt":{},"n":"level","v":{minute}}}]"#, 1_704_067_200 + 60 * minute)
        .into_bytes()
}

/// Runs a gateway with a recording of its own until all of it is committed.
fn send(city: &City, name: &str, password: &str) -> anyhow::Result<()> {
    let folder = city.workplace().path();
    let file = |end: &str| -> PathBuf { folder.join(format!("{name}.{end}")) };
    let mut writer = Writer::create(&file("recording"), &Header::named(name))?;
    for minute in 0..MESSAGES {
        let (topic, payload) = ("city/senml/level".to_owned(), pack(name, minute));
        writer.write(&Message::new(Timestamp::UNIX_EPOCH, topic, payload))?;
    }
    writer.finish()?;
    fs::write(file("password"), password)?;
    let path = |end: &str| file(end).display().to_string();
    let (from, spool, password) = (path("recording"), path("spool"), path("password"));
    let args = ["gateway", "run", name, "--from", &from, "--spool", &spool, "--broker-url", city.mqtt_url()];
    let access = ["--broker-user", name, "--broker-password-file", &password];
    let output = block_in_place(|| run(&[&args[..], &access].concat(), &[]))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Whether a file of a data folder holds a text.
fn secret_in(data: &Path, text: &str) -> anyhow::Result<bool> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && String::from_utf8_lossy(&fs::read(entry.path())?).contains(text) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_logins_is_not_opened_to_other_machines() {
    let workplace = Workplace::new().unwrap();
    let data = workplace.data().display().to_string();
    let loopback = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let args = [&["up", "--data", &data, "--mqtt-listen", "0.0.0.0:0"], &loopback[..]].concat();
    let mut up = Process::start(&workplace, "open", &args).unwrap();
    let status = block_in_place(|| up.wait()).unwrap();
    up.forget();
    let said = up.log();
    assert!(!status.success(), "{said}");
    for word in ["no logins", "screenline gateway add", "--mqtt-client-ca", "--broker-url"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
