//! Encrypted ways to the broker and to the database: who is trusted, who is let in, and who learns a password.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::Storage;
use tests::certificates::{Authority, Signed};
use tests::city::PATIENCE;
use tests::mosquitto::Mosquitto;
use tests::postgres::Postgres;
use tests::process::{Manner, Process, Workplace, run};
use tokio::task::block_in_place;
use tokio::time::sleep;

const SECRET: &str = "correct-horse-battery";

/// A broker that asks for a certificate of the authority.
fn broker(folder: &Path, authority: &Authority, server: &Signed) -> Mosquitto {
    let path = |path: &Path| path.display().to_string();
    Mosquitto::start(
        folder,
        &[
            ("cafile", &path(&authority.ca)),
            ("certfile", &path(&server.certificate)),
            ("keyfile", &path(&server.key)),
            ("require_certificate", "true"),
        ],
    )
    .unwrap()
}

/// What `doctor` says of one thing.
fn doctor(name: &str, args: &[&str]) -> String {
    let output = run(&[&["doctor", "--json"], args].concat(), &[]).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let checks = report["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["name"] == name).map(ToString::to_string).collect()
}

#[test]
fn a_broker_is_believed_by_its_certificate_and_believes_us_by_ours() {
    let (folder, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new(folder.path(), "city").unwrap();
    let stranger = Authority::new(foreign.path(), "stranger").unwrap();
    let client = authority.client("ingest").unwrap();
    let (ca, key) = (authority.ca.to_str().unwrap(), client.key.to_str().unwrap());
    let ours =
        ["--broker-ca", ca, "--broker-cert", client.certificate.to_str().unwrap(), "--broker-key", key];
    let look = |server: &Signed, access: &[&str]| {
        let inside = tempfile::tempdir().unwrap();
        let broker = broker(inside.path(), &authority, server);
        let url = format!("mqtts://localhost:{}", broker.port());
        doctor("broker", &[&["--broker-url", &url], access].concat())
    };
    let good = authority.server(&["localhost"]).unwrap();
    let said = look(&good, &ours);
    assert!(said.contains("it kept 1501 of 1501") && !said.contains("problem"), "{said}");

    let wrong_ca = ["--broker-ca", stranger.ca.to_str().unwrap()];
    for (server, access, sentence) in [
        (&good, &wrong_ca[..], "nobody we trust signed its certificate"),
        (&good, &ours[..2], "wants one"),
        (&authority.expired_server(&["localhost"]).unwrap(), &ours, "its certificate has expired"),
        (&authority.server(&["broker.example"]).unwrap(), &ours, "its certificate is for another name"),
        (&stranger.server(&["localhost"]).unwrap(), &ours, "nobody we trust signed its certificate"),
    ] {
        let said = look(server, access);
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let plain = Mosquitto::start(&folder.path().join("plain"), &[]).unwrap();
    let said = doctor("broker", &["--broker-url", &format!("mqtts://localhost:{}", plain.port())]);
    assert!(said.contains("no answer"), "{said}");
}

#[test]
fn a_database_is_believed_by_its_certificate_and_believes_us_by_ours() {
    let workplace = Workplace::new().unwrap();
    let folder = workplace.path();
    let authority = Authority::new(folder, "city").unwrap();
    let stranger = Authority::new(folder, "stranger").unwrap();
    let client = authority.client("screenline").unwrap();
    let good = authority.server(&["localhost"]).unwrap();
    let postgres = Postgres::start(&folder.join("good"), &good, &authority, SECRET).unwrap();
    let url = |port: u16, ca: &Path, more: &str| {
        format!(
            "postgres://screenline:{SECRET}@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}{more}",
            ca.display()
        )
    };
    let ours = format!("&sslcert={}&sslkey={}", client.certificate.display(), client.key.display());
    let look = |url: &str| doctor("database", &["--database-url", url]);
    let said = look(&url(postgres.port(), &authority.ca, &ours));
    assert!(said.contains("PostgreSQL") && !said.contains("problem"), "{said}");

    let expired = authority.expired_server(&["localhost"]).unwrap();
    let expired = Postgres::start(&folder.join("expired"), &expired, &authority, SECRET).unwrap();
    let elsewhere = authority.server(&["db.example"]).unwrap();
    let elsewhere = Postgres::start(&folder.join("elsewhere"), &elsewhere, &authority, SECRET).unwrap();
    for (url, sentence) in [
        (url(postgres.port(), &stranger.ca, &ours), "nobody we trust signed its certificate"),
        (url(postgres.port(), &authority.ca, ""), "certificate"),
        (url(expired.port(), &authority.ca, &ours), "its certificate has expired"),
        (url(elsewhere.port(), &authority.ca, &ours), "its certificate is for another name"),
        (format!("postgres://screenline:{SECRET}@localhost:{}/postgres", postgres.port()), "no encryption"),
    ] {
        let said = look(&url);
        assert!(said.contains("problem") && said.contains(sentence), "{sentence}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_city_of_encrypted_ways_tells_its_passwords_to_nobody() {
    tests::storage::run(encrypted, Storage::Plain).await;
}

async fn encrypted(storage: Storage) -> anyhow::Result<()> {
    let ours = Workplace::new()?;
    let authority = Authority::new(ours.path(), "city")?;
    let server = authority.server(&["localhost"])?;
    let client = authority.client("screenline")?;
    let postgres = Postgres::start(&ours.path().join("database"), &server, &authority, SECRET)?;
    let passwords = ours.path().join("passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["ingest", SECRET])
        .status()?;
    ensure!(made.success(), "mosquitto_passwd");
    let path = |path: &Path| path.display().to_string();
    let broker = Mosquitto::start(
        &ours.path().join("broker"),
        &[
            ("allow_anonymous", "false"),
            ("password_file", &path(&passwords)),
            ("certfile", &path(&server.certificate)),
            ("keyfile", &path(&server.key)),
        ],
    )?;
    let password_file = ours.path().join("broker.password");
    fs::write(&password_file, format!("{SECRET}\n"))?;
    let pass_file = ours.path().join("pgpass");
    fs::write(&pass_file, format!("localhost:*:*:screenline:{SECRET}\n"))?;

    let broker_url = format!("mqtts://localhost:{}", broker.port());
    let database_url = format!(
        "postgres://screenline@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}&passfile={}",
        postgres.port(),
        authority.ca.display(),
        client.certificate.display(),
        client.key.display(),
        pass_file.display(),
    );
    let ca = path(&authority.ca);
    let access = ["--broker-url", &broker_url, "--broker-user", "ingest", "--broker-ca", &ca];
    let manner = Manner {
        env: vec![("SCREENLINE_BROKER_PASSWORD".to_owned(), SECRET.to_owned())],
        ..Manner::default()
    };
    let more = ["--database-url", &database_url, "-vv", "--lateness-horizon", "300d"];
    let mut city = Process::city("up", &ours, storage, &[&access[..], &more].concat(), &manner)?;
    let ready = block_in_place(|| city.ready())?;

    // The feed by the program itself, which takes the password from a file.
    let file = path(&password_file);
    let replay =
        [&["replay", "sumo-grid", "--speed", "max", "-vv"], &access[..], &["--broker-password-file", &file]];
    let output = block_in_place(|| run(&replay.concat(), &[]))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "replay over TLS: {said}");

    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = block_in_place(|| run(&["account", "--json", "--database-url", &database_url], &[]))?;
        let account = String::from_utf8_lossy(&output.stdout).into_owned();
        if account.contains("\"received\":15383") {
            break;
        }
        ensure!(Instant::now() < deadline, "of 15,383 messages: {account}");
        sleep(Duration::from_millis(100)).await;
    }

    let lines = command_lines()?;
    ensure!(lines.iter().any(|line| line.contains("ingest")), "no child is running");
    ensure!(lines.iter().all(|line| !line.contains(SECRET)), "a password is in a command line");
    ensure!(!ready.to_string().contains(SECRET), "{ready}");
    block_in_place(|| city.stop())?;
    for text in [said, city.log(), city.output()] {
        ensure!(!text.contains(SECRET), "a password is in a log: {text}");
    }
    ensure!(city.log().contains("DEBUG"), "the log is not the close one");
    Ok(())
}

fn command_lines() -> anyhow::Result<Vec<String>> {
    let processes = fs::read_dir("/proc").context("read /proc")?;
    Ok(processes
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect())
}
