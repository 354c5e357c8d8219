//! Recordings of a real mosquitto, and replays of them to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::feed::Feed;
use crate::mosquitto::Mosquitto;
use crate::recording::{Message, Properties, Recording, TimeForm, Writer};
use crate::replay::{self, Bound, History, Repeat, Speed};

struct Recorder {
    progress: Arc<Progress>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

fn config(broker: &Mosquitto, path: &Path) -> Config {
    Config {
        broker: Broker::new("127.0.0.1", broker.port),
        protocol: Protocol::Auto,
        client_id: None,
        filters: Vec::new(),
        exclude: Vec::new(),
        at_least_once: true,
        output: Output::File(path.to_owned()),
        append: false,
        times: Vec::new(),
        messages_max: None,
        time_max: None,
    }
}

impl Recorder {
    /// Returns when it is subscribed.
    async fn start(config: Config) -> Recorder {
        let (progress, shutdown) = (Arc::new(Progress::default()), CancellationToken::new());
        let task = tokio::spawn(run(config, progress.clone(), shutdown.clone()));
        while !progress.connected.load(Ordering::Relaxed) {
            assert!(!task.is_finished(), "{:?}", task.await);
            sleep(Duration::from_millis(5)).await;
        }
        Recorder { progress, shutdown, task }
    }

    async fn has(&self, messages: u64) {
        while self.progress.messages.load(Ordering::Relaxed) < messages {
            assert!(!self.task.is_finished());
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn replay_of(broker: &Mosquitto, recording: Recording) -> replay::Config {
    replay::Config::new(Broker::new("127.0.0.1", broker.port), recording, Speed::Max)
}

async fn play(config: replay::Config) -> replay::Summary {
    let progress = Arc::<replay::Progress>::default();
    let summary = replay::run(config, progress.clone(), CancellationToken::new()).await.unwrap();
    assert_eq!(summary.published, summary.acknowledged);
    assert_eq!(progress.total.load(Ordering::Relaxed), summary.published);
    summary
}

fn messages(path: &Path) -> Vec<Message> {
    Recording::open(path).unwrap().read().unwrap().collect::<Result<_, _>>().unwrap()
}

/// Payloads of each topic in their order.
fn by_topic(messages: impl IntoIterator<Item = Message>) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut topics: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for message in messages {
        topics.entry(message.topic).or_default().push(message.payload);
    }
    topics
}

fn wntr_net3() -> Recording {
    Feed::named("wntr-net3").unwrap().recording().unwrap()
}

fn feed() -> Vec<Message> {
    wntr_net3().read().unwrap().collect::<Result<_, _>>().unwrap()
}

/// Records what a replay publishes.
async fn recorded(broker: &Mosquitto, folder: &Path, config_of: replay::Config) -> Vec<Message> {
    let path = folder.join("recorded.rec");
    let _ = std::fs::remove_file(&path);
    let recorder = Recorder::start(config(broker, &path)).await;
    let summary = play(config_of).await;
    recorder.has(summary.published).await;
    recorder.stop().await;
    messages(&path)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_over_several_connections_is_recorded_each_topic_in_its_order() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (protocol, client_id, connections) in [
        (Protocol::Auto, Some("keeper"), 4),
        (Protocol::V311, Some("keeper-old"), 1),
        (Protocol::V311, None, 3),
    ] {
        let path = folder.path().join(format!("{protocol}-{connections}.rec"));
        let client_id = client_id.map(str::to_owned);
        let recorder = Recorder::start(Config { protocol, client_id, ..config(&broker, &path) }).await;
        let summary = play(replay::Config { connections, ..replay_of(&broker, wntr_net3()) }).await;
        assert_eq!(summary.published, 40_808);
        recorder.has(40_808).await;
        let progress = recorder.progress.clone();
        recorder.stop().await;
        assert_eq!(progress.topics.load(Ordering::Relaxed), 61);
        assert!(by_topic(messages(&path)) == by_topic(feed()));
        assert_eq!(Recording::open(&path).unwrap().header().filters, ["#"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_session_goes_on_where_the_recorder_left() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.rec");
    let with_session =
        || Config { client_id: Some("keeper".to_owned()), append: true, ..config(&broker, &path) };
    let recorder = Recorder::start(with_session()).await;
    let replay = tokio::spawn(play(replay_of(&broker, wntr_net3())));
    recorder.has(5_000).await;
    recorder.stop().await;
    let begun = messages(&path).len();
    assert!(begun < 40_808, "everything was recorded before it was stopped");
    // A second one takes a bounded part, and a third the rest.
    let bounded = Recorder::start(Config { messages_max: Some(7_000), ..with_session() }).await;
    bounded.task.await.unwrap().unwrap();
    assert_eq!(messages(&path).len(), begun + 7_000);
    replay.await.unwrap();
    let recorder = Recorder::start(with_session()).await;
    // At least once: some may be there twice, and none is missing.
    let distinct = |messages: Vec<Message>| -> BTreeSet<(String, Vec<u8>)> {
        messages.into_iter().map(|message| (message.topic, message.payload)).collect()
    };
    let expected = distinct(feed());
    let deadline = Instant::now() + Duration::from_secs(60);
    while distinct(messages(&path)) != expected {
        assert!(Instant::now() < deadline, "{} messages of {}", messages(&path).len(), expected.len());
        sleep(Duration::from_millis(100)).await;
    }
    recorder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_retain_and_properties_are_replayed_as_recorded() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let properties = Properties {
        format: Some(1),
        expiry_s: None,
        content_type: Some("application/json".to_owned()),
        response_topic: Some("answers".to_owned()),
        correlation: Some(vec![0, 255]),
        user: vec![("b".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
    };
    let plain = Message::new(Timestamp::UNIX_EPOCH, "a/0".to_owned(), b"x".to_vec());
    let sent = [
        Message { qos: 0, ..plain.clone() },
        Message { topic: "a/1".to_owned(), retain: true, properties, ..plain.clone() },
        Message { topic: "a/2".to_owned(), qos: 2, ..plain },
    ];
    let path = folder.path().join("made.rec");
    let mut writer = Writer::create(&path, &Header::named("made")).unwrap();
    sent.iter().for_each(|message| writer.write(message).unwrap());
    writer.finish().unwrap();
    let made = || Recording::open(&path).unwrap();
    let mut found = recorded(&broker, folder.path(), replay_of(&broker, made())).await;
    found.sort_by(|one, other| one.topic.cmp(&other.topic));
    for (found, sent) in found.iter().zip(&sent) {
        // The subscription is at QoS 1 at most.
        let expected = Message { t: found.t, qos: sent.qos.min(1), ..sent.clone() };
        assert_eq!(found, &expected);
    }
    assert_eq!(found.len(), 3);
    let at_1 = replay::Config { qos: Some(1), ..replay_of(&broker, made()) };
    let found = recorded(&broker, folder.path(), at_1).await;
    assert!(found.iter().all(|message| message.qos == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_replayed_under_other_topics_and_times_in_rounds() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = feed()[0].t;
    let config = replay::Config {
        from: Some(Bound::After(SignedDuration::from_hours(1))),
        to: Some(Bound::At(start + SignedDuration::from_hours(2))),
        wanted: Wanted { filters: vec!["city/water/+/register".parse().unwrap()], exclude: Vec::new() },
        rewrite: vec!["city/water/+/register=meters/+".parse().unwrap()],
        history: History::BeginningAt(start + SignedDuration::from_hours(25)),
        repeat: Repeat::Times(2),
        connections: 3,
        ..replay_of(&broker, wntr_net3())
    };
    let window = start + SignedDuration::from_hours(1)..=start + SignedDuration::from_hours(2);
    let part: Vec<Message> = feed().into_iter().filter(|message| window.contains(&message.t)).collect();
    let found = recorded(&broker, folder.path(), config).await;
    assert_eq!(found.len(), 2 * part.len());
    let mut topics: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let moved_s = (start + SignedDuration::from_hours(25)).duration_since(part[0].t).as_secs();
    for round in 0..2 {
        for message in &part {
            let mut json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let time: Timestamp = json["time"].as_str().unwrap().parse().unwrap();
            let by = SignedDuration::from_secs(moved_s + round * 605_700);
            json["time"] = (time + by).to_string().into();
            let sensor = message.topic.split('/').nth(2).unwrap();
            topics.entry(format!("meters/{sensor}")).or_default().push(serde_json::to_vec(&json).unwrap());
        }
    }
    assert!(by_topic(found) == topics);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_keeps_its_newest_files_each_whole_in_itself() {
    let Some(broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.rec");
    let set = || Output::Set {
        path: path.clone(),
        rotate: Rotate::After(Duration::from_millis(50)),
        keep: Some(2),
    };
    let time = crate::recording::PayloadTime { topic: "#".to_owned(), form: TimeForm::Senml };
    let exclude = vec!["city/water/WM-10/#".parse().unwrap()];
    let recorder = Recorder::start(Config {
        output: set(),
        times: vec![time.clone()],
        exclude,
        ..config(&broker, &path)
    })
    .await;
    play(replay_of(&broker, wntr_net3())).await;
    recorder.has(30_000).await;
    let progress = recorder.progress.clone();
    recorder.stop().await;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let count = progress.files.load(Ordering::Relaxed);
    assert!(2 < count && files.len() == 2, "{count} {files:?}");
    assert!(files[1].ends_with(format!("city.{count:04}.rec")), "{files:?}");
    let whole = messages(folder.path());
    assert_eq!(whole, files.iter().flat_map(|file| messages(file)).collect::<Vec<_>>());
    assert!(whole.iter().all(|message| !message.topic.starts_with("city/water/WM-10/")));
    assert_eq!(Recording::open(&files[1]).unwrap().header().times, [time]);
    let error =
        run(Config { output: set(), ..config(&broker, &path) }, Arc::default(), CancellationToken::new());
    assert!(error.await.unwrap_err().to_string().contains("--append"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_away_leaves_a_gap_and_the_recorder_goes_on() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.rec");
    let recorder = Recorder::start(config(&broker, &path)).await;
    broker = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    })
    .await
    .unwrap();
    while recorder.progress.reconnects.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    play(replay_of(&broker, wntr_net3())).await;
    recorder.has(40_808).await;
    recorder.stop().await;
    let mut reader = Recording::open(&path).unwrap().read().unwrap();
    assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 40_808);
    assert_eq!(reader.gaps(), 1);
}

#[test]
fn files_follow_one_another_by_size_or_time() {
    assert_eq!("1GiB".parse(), Ok(Rotate::Bytes(1 << 30)));
    assert_eq!("64MiB".parse(), Ok(Rotate::Bytes(64 << 20)));
    assert_eq!("1h".parse(), Ok(Rotate::After(Duration::from_secs(3_600))));
    for wrong in ["1KiB", "0s", "-1h", "1", "big", "99999999999GiB"] {
        assert!(wrong.parse::<Rotate>().is_err(), "{wrong}");
    }
}
