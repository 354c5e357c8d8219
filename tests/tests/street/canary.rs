//! A broker is looked at before messages are entrusted to it.

use std::fs;

use serde_json::Value;
use tests::mosquitto::Mosquitto;
use tests::process::run;

/// What `doctor` says of a broker with these settings: everything about it, and what is wrong.
fn examined(settings: &[(&str, &str)], more: &[&str]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in settings {
        if *name == "acl_file" {
            fs::write(value, "topic read screenline/#\n").unwrap();
        }
    }
    let broker = Mosquitto::start(folder.path(), settings).unwrap();
    let url = broker.url();
    let mut args = vec!["doctor", "--json", "--broker-url", &url];
    args.extend(more);
    let output = run(&args, &[("SCREENLINE_BROKER_PASSWORD", "secret")]).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let about = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "broker");
    let wrong = about.clone().filter_map(|check| check["problem"].as_str().map(str::to_owned)).collect();
    (about.map(ToString::to_string).collect::<Vec<_>>().join("\n"), wrong)
}

#[test]
fn a_broker_as_shipped_is_fit() {
    let (all, wrong) = examined(&[], &[]);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(all.contains("it speaks MQTT 5") && all.contains("it kept 1501 of 1501 messages"), "{all}");
}

#[test]
fn what_is_wrong_with_a_broker_is_said_in_plain_words() {
    let acl = tempfile::NamedTempFile::new().unwrap();
    let acl = acl.path().to_str().unwrap();
    let cases: [(&[(&str, &str)], &str); 7] = [
        (
            &[("max_queued_messages", "100")],
            "of 1501 messages that it acknowledged while we were away it kept 1",
        ),
        (&[("message_size_limit", "100000")], "a payload that ingest would take (256 KiB)"),
        (&[("max_packet_size", "100000")], "it refuses payloads that ingest would take (256 KiB)"),
        (&[("retain_available", "false")], "it keeps no retained messages"),
        (&[("max_qos", "0")], "it does not grant QoS 1"),
        (&[("acl_file", acl)], "it does not let us publish on screenline/canary/"),
        (&[("allow_anonymous", "false")], "it does not know our user or password"),
    ];
    for (settings, sentence) in cases {
        let (all, wrong) = examined(settings, &[]);
        assert!(wrong.iter().any(|problem| problem.contains(sentence)), "{settings:?}: {sentence}\n{all}");
    }
    // Here the second client of a user ends the session of the first.
    let (all, wrong) = examined(&[("use_username_as_clientid", "true")], &["--broker-user", "ada"]);
    assert!(wrong.iter().any(|problem| problem.contains("it forgot our session")), "{all}");
}

#[test]
fn ingest_does_not_start_on_a_broker_that_is_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path(), &[("max_qos", "0")]).unwrap();
    let args =
        ["ingest", "--broker-url", &broker.url(), "--database-url", "postgres://nobody@127.0.0.1:1/none"];
    let output = run(&[&args[..], &["--metrics-listen", "127.0.0.1:0"]].concat(), &[]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("is not fit: it does not grant QoS 1") && said.contains("--broker-check off"),
        "{said}"
    );
}
