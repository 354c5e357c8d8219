//! Replays to a real mosquitto. Skipped, visibly, where it is not installed.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use rumqttc::{Client, MqttOptions, Packet, QoS};
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::{Bound, Config, History, Progress, Protocol, Repeat, Speed, run};
use crate::broker::Broker;
use crate::feed::Feed;
use crate::mosquitto::Mosquitto;
use crate::recording::Recording;

/// Counts what arrives, by topic and payload, over a persistent session.
struct Subscriber {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<BTreeMap<(String, Vec<u8>), u64>>,
}

impl Subscriber {
    /// Returns when the subscription is granted; ends when stopped and nothing came for a second.
    fn start(port: u16) -> Subscriber {
        let mut options = MqttOptions::new("subscriber", "127.0.0.1", port);
        options.set_clean_session(false);
        let (client, mut connection) = Client::new(options, 10);
        client.subscribe("city/#", QoS::AtLeastOnce).unwrap();
        for event in connection.iter() {
            if matches!(event.unwrap(), rumqttc::Event::Incoming(Packet::SubAck(_))) {
                break;
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let _client = client; // its channel must stay open
            let mut seen: BTreeMap<(String, Vec<u8>), u64> = BTreeMap::new();
            loop {
                match connection.recv_timeout(Duration::from_secs(1)) {
                    Ok(Ok(rumqttc::Event::Incoming(Packet::Publish(publish)))) => {
                        *seen.entry((publish.topic, publish.payload.to_vec())).or_default() += 1;
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => thread::sleep(Duration::from_millis(100)),
                    Err(_) if stopping.load(Ordering::Relaxed) => return seen,
                    Err(_) => {}
                }
            }
        });
        Subscriber { stop, thread }
    }

    fn finish(self) -> BTreeMap<(String, Vec<u8>), u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn config(broker: &Mosquitto, protocol: Protocol) -> Config {
    let broker = Broker::new("127.0.0.1", broker.port);
    Config { broker_protocol: protocol, ..Config::new(broker, wntr_net3(), Speed::Max) }
}

fn wntr_net3() -> Recording {
    Feed::named("wntr-net3").unwrap().recording().unwrap()
}

fn expected() -> BTreeMap<(String, Vec<u8>), u64> {
    let mut expected = BTreeMap::new();
    for message in wntr_net3().read().unwrap() {
        let message = message.unwrap();
        *expected.entry((message.topic, message.payload)).or_default() += 1;
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_arrives_and_is_acknowledged_over_both_versions() {
    let Some(broker) = Mosquitto::start() else { return };
    for protocol in [Protocol::Auto, Protocol::V311] {
        let port = broker.port;
        let subscriber = tokio::task::spawn_blocking(move || Subscriber::start(port)).await.unwrap();
        let progress = Arc::new(Progress::default());
        let summary = run(config(&broker, protocol), progress.clone(), CancellationToken::new());
        let summary = summary.await.unwrap();
        assert_eq!((summary.published, summary.acknowledged, summary.sent_again), (40_808, 40_808, 0));
        assert_eq!(progress.acknowledged.load(Ordering::Relaxed), 40_808);
        assert_eq!(progress.total.load(Ordering::Relaxed), 40_808);
        let seen = tokio::task::spawn_blocking(|| subscriber.finish()).await.unwrap();
        assert!(seen == expected(), "{} different messages arrived", seen.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restarted_in_the_middle_misses_no_message() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let port = broker.port;
    let subscriber = tokio::task::spawn_blocking(move || Subscriber::start(port)).await.unwrap();
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(run(config(&broker, Protocol::V5), progress.clone(), CancellationToken::new()));
    let mut cuts = 0;
    for acknowledged in [2_000, 20_000] {
        while progress.acknowledged.load(Ordering::Relaxed) < acknowledged && !replay.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cuts += u32::from(!replay.is_finished());
        broker = tokio::task::spawn_blocking(move || {
            broker.restart();
            broker
        })
        .await
        .unwrap();
    }
    let summary = replay.await.unwrap().unwrap();
    assert!(cuts > 0, "the replay was over before the broker was restarted");
    assert_eq!((summary.published, summary.acknowledged), (40_808, 40_808));
    let seen = tokio::task::spawn_blocking(|| subscriber.finish()).await.unwrap();
    let missing: Vec<_> = expected().into_keys().filter(|key| !seen.contains_key(key)).take(3).collect();
    assert!(missing.is_empty(), "never arrived: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_moved_to_end_now_ends_now_and_loops_no_further_than_the_clock() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut config = config(&broker, Protocol::Auto);
    config.recording = Feed::named("sumo-grid").unwrap().recording().unwrap();
    config.history = History::EndingNow;
    config.repeat = Repeat::Live;
    let (progress, shutdown) = (Arc::new(Progress::default()), CancellationToken::new());
    let port = broker.port;
    let subscriber = tokio::task::spawn_blocking(move || Subscriber::start(port)).await.unwrap();
    let started = jiff::Timestamp::now().as_second();
    let replay = tokio::spawn(run(config, progress.clone(), shutdown.clone()));
    while progress.acknowledged.load(Ordering::Relaxed) < 15_383 {
        assert!(!replay.is_finished(), "{:?}", replay.await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    let summary = replay.await.unwrap().unwrap();
    assert_eq!((summary.acknowledged, summary.not_moved), (summary.published, 0));
    let position = progress.position.load(Ordering::Relaxed);
    assert!(started - 1 <= position && position <= jiff::Timestamp::now().as_second(), "{position}");
    let seen = tokio::task::spawn_blocking(|| subscriber.finish()).await.unwrap();
    let of_2024 =
        seen.keys().filter(|(_, payload)| payload.windows(5).any(|bytes| bytes == b"\"2024")).count();
    assert_eq!(of_2024, 0);
}

#[tokio::test]
async fn a_stopped_replay_does_not_wait_for_a_broker_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = Config::new(Broker::new("127.0.0.1", port), wntr_net3(), Speed::Max);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let error = run(config, Arc::default(), shutdown).await.unwrap_err().to_string();
    assert!(error.contains("stopped before the broker"), "{error}");
}

#[test]
fn speeds_read_as_they_print() {
    assert_eq!("max".parse(), Ok(Speed::Max));
    assert_eq!("60x".parse(), Ok(Speed::Times(60.0)));
    assert_eq!("0.5".parse(), Ok(Speed::Times(0.5)));
    for wrong in ["0x", "-1x", "infx", "NaN", "fast", ""] {
        assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
    }
}

#[test]
fn a_looped_message_is_never_ahead_of_the_clock() {
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    assert!(Pace::Clock.wait(now - hour, 0).is_none());
    assert!(Pace::Clock.wait(now + hour, 0).is_some());
    assert!(Pace::Clock.wait(now - hour, 7_200).is_some());
}

#[test]
fn a_time_in_a_recording_is_absolute_or_after_its_first_message() {
    assert_eq!("10m".parse(), Ok(Bound::After(SignedDuration::from_mins(10))));
    assert_eq!("2024-01-01T00:00:00Z".parse(), Ok(Bound::At("2024-01-01T00:00:00Z".parse().unwrap())));
    for wrong in ["-10m", "soon", ""] {
        assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
    }
}
