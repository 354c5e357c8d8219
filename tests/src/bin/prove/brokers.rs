//! What a crash of the broker loses of what it had acknowledged. A subscriber makes a session and leaves; a publisher
//! counts acknowledgements; the broker is killed under its load and started again; the subscriber comes back.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS};
use serde::Serialize;
use tests::mosquitto::Mosquitto;
use tests::rabbitmq::{Queue, RabbitMq};
use tests::say;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Runs for each broker and configuration
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Seconds of load before the kill
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only brokers whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Print one JSON object a run
    #[arg(long)]
    json: bool,
}

const TOPIC: &str = "loss/of/a/broker";
const PAYLOAD_BYTES: usize = 200;
const IN_FLIGHT: u16 = 1_000;
/// Nothing more comes when nothing came for so long.
const QUIET: Duration = Duration::from_secs(4);
/// RabbitMQ notes a new quorum queue half a second after its making, and forgets it when it is killed before.
const SETTLED: Duration = Duration::from_secs(5);

/// A RabbitMQ that listens still hangs up for a while, until its queues have a leader.
const READY: Duration = Duration::from_secs(60);

/// A broker and how it is configured.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Mosquitto { name: &'static str, settings: &'static [(&'static str, &'static str)], gently: bool },
    RabbitMq(Queue),
}

const KINDS: [Kind; 6] = [
    Kind::Mosquitto { name: "as shipped (saved every second)", settings: &[], gently: false },
    Kind::Mosquitto { name: "as shipped, SIGTERM", settings: &[], gently: true },
    Kind::Mosquitto {
        name: "its default (saved every half hour)",
        settings: &[("autosave_interval", "1800")],
        gently: false,
    },
    Kind::Mosquitto {
        name: "saved at every change",
        settings: &[("autosave_on_changes", "true"), ("autosave_interval", "1")],
        gently: false,
    },
    Kind::RabbitMq(Queue::Classic),
    Kind::RabbitMq(Queue::Quorum),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Mosquitto { name, .. } => write!(f, "mosquitto {name}"),
            Kind::RabbitMq(Queue::Classic) => f.write_str("rabbitmq classic queue"),
            Kind::RabbitMq(Queue::Quorum) => f.write_str("rabbitmq quorum queue"),
        }
    }
}

/// What one run showed.
#[derive(Debug, Serialize)]
struct Loss {
    broker: String,
    acknowledged: usize,
    lost: usize,
    session_kept: bool,
    per_second: u64,
    /// From the acknowledgement of the oldest lost message to the kill.
    window_s: f64,
}

/// Measures every broker. True, because a loss is a figure and no broken promise; but a strong broker must lose nothing.
///
/// # Errors
/// A broker cannot be started.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let mut holds = true;
    for kind in KINDS.into_iter().filter(|kind| kind.to_string().contains(&args.only)) {
        if matches!(kind, Kind::RabbitMq(_)) && !RabbitMq::is_installed() {
            say("no RabbitMQ here: see deploy/setup --for test");
            continue;
        }
        for _ in 0..args.runs {
            let folder = tempfile::tempdir()?;
            let loss = measure(kind, Duration::from_secs(args.seconds), folder.path()).await?;
            holds &= loss.lost == 0 || !matches!(kind, Kind::RabbitMq(Queue::Quorum));
            if args.json {
                println!("{}", serde_json::to_string(&loss)?);
            } else {
                let Loss { broker, acknowledged, lost, session_kept, per_second, window_s } = loss;
                let session = if session_kept { "kept" } else { "LOST" };
                println!(
                    "{broker:<46} {per_second:>6}/s  acknowledged {acknowledged:>7}  lost {lost:>7}  window {window_s:>5.2} s  session {session}"
                );
            }
        }
    }
    Ok(holds)
}

enum Running {
    Mosquitto(Mosquitto),
    RabbitMq(RabbitMq),
}

impl Running {
    fn start(kind: Kind, folder: &Path) -> anyhow::Result<Running> {
        Ok(match kind {
            Kind::Mosquitto { settings, .. } => Running::Mosquitto(Mosquitto::start(folder, settings)?),
            Kind::RabbitMq(queue) => Running::RabbitMq(RabbitMq::start(folder, queue)?),
        })
    }

    fn end(&mut self, kind: Kind) -> anyhow::Result<()> {
        match (self, kind) {
            (Running::Mosquitto(broker), Kind::Mosquitto { gently: true, .. }) => broker.stop(),
            (Running::Mosquitto(broker), _) => broker.kill(),
            (Running::RabbitMq(broker), _) => broker.kill(),
        }
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        match self {
            Running::Mosquitto(broker) => broker.restart(),
            Running::RabbitMq(broker) => broker.restart(),
        }
    }

    fn options(&self, client_id: &str) -> MqttOptions {
        let (port, login) = match self {
            Running::Mosquitto(broker) => (broker.port(), None),
            Running::RabbitMq(broker) => (broker.port(), Some(RabbitMq::LOGIN)),
        };
        let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        options.set_inflight(IN_FLIGHT).set_keep_alive(Duration::from_secs(60));
        options
    }
}

async fn measure(kind: Kind, load: Duration, folder: &Path) -> anyhow::Result<Loss> {
    let mut broker = block_in_place(|| Running::start(kind, folder))?;
    patiently(async || subscribe(&broker).await).await.context("the subscriber's session")?;
    sleep(SETTLED).await;
    let (mut acknowledged, events) = publish(&broker, load).await?;
    block_in_place(|| broker.end(kind))?;
    let killed = Instant::now();
    acknowledged.extend(last(events).await);
    block_in_place(|| broker.restart())?;
    let (session_kept, came) =
        patiently(async || collect(&broker).await).await.context("the subscriber's return")?;

    let lost: Vec<&(u64, Instant)> =
        acknowledged.iter().filter(|(number, _)| !came.contains(number)).collect();
    let oldest = lost.iter().map(|(_, at)| *at).min();
    Ok(Loss {
        broker: kind.to_string(),
        acknowledged: acknowledged.len(),
        lost: lost.len(),
        session_kept,
        per_second: (acknowledged.len() as f64 / load.as_secs_f64()) as u64,
        window_s: oldest.map_or(0.0, |at| killed.duration_since(at).as_secs_f64()),
    })
}

async fn patiently<T>(mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + READY;
    loop {
        match attempt().await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_secs(1)).await,
            outcome => return outcome,
        }
    }
}

async fn subscribe(broker: &Running) -> anyhow::Result<()> {
    let mut options = broker.options("loss-subscriber");
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.try_subscribe("loss/#", QoS::AtLeastOnce)?;
    while !matches!(events.poll().await?, Event::Incoming(Incoming::SubAck(_))) {}
    client.try_disconnect()?;
    while !matches!(events.poll().await?, Event::Outgoing(Outgoing::Disconnect)) {}
    Ok(())
}

/// A publisher's connection, and which message has which packet id.
struct Publishing {
    events: EventLoop,
    numbers: Vec<u64>,
    next: u64,
}

impl Publishing {
    /// The number of the message that was acknowledged, when one was.
    async fn step(&mut self) -> anyhow::Result<Option<u64>> {
        match self.events.poll().await? {
            // Messages leave in the order of their publishing.
            Event::Outgoing(Outgoing::Publish(packet)) => {
                self.numbers[usize::from(packet)] = self.next;
                self.next += 1;
                Ok(None)
            }
            Event::Incoming(Incoming::PubAck(ack)) => Ok(Some(self.numbers[usize::from(ack.pkid)])),
            _ => Ok(None),
        }
    }
}

/// Publishes for so long; says what was acknowledged, and when.
async fn publish(broker: &Running, load: Duration) -> anyhow::Result<(Vec<(u64, Instant)>, Publishing)> {
    let (client, events) = AsyncClient::new(broker.options("loss-publisher"), usize::from(IN_FLIGHT));
    tokio::spawn(async move {
        for number in 0_u64.. {
            let mut payload = format!("{number:020}").into_bytes();
            payload.resize(PAYLOAD_BYTES, b' ');
            if client.publish(TOPIC, QoS::AtLeastOnce, false, payload).await.is_err() {
                return; // its connection is gone
            }
        }
    });
    let mut publishing = Publishing { events, numbers: vec![0; 1 << 16], next: 0 };
    let mut acknowledged = Vec::new();
    let end = Instant::now() + load;
    while Instant::now() < end {
        let step = publishing.step().await.context("the load on the broker")?;
        acknowledged.extend(step.map(|number| (number, Instant::now())));
    }
    Ok((acknowledged, publishing))
}

/// What had been acknowledged before the kill and was not read yet.
async fn last(mut publishing: Publishing) -> Vec<(u64, Instant)> {
    let mut acknowledged = Vec::new();
    let at = Instant::now();
    while let Ok(Ok(step)) = timeout(Duration::from_secs(1), publishing.step()).await {
        acknowledged.extend(step.map(|number| (number, at)));
    }
    acknowledged
}

/// Whether the session was there, and the numbers of what it had kept.
async fn collect(broker: &Running) -> anyhow::Result<(bool, HashSet<u64>)> {
    let mut options = broker.options("loss-subscriber");
    options.set_clean_session(false);
    let (_client, mut events) = AsyncClient::new(options, 10);
    let mut session_kept = false;
    let mut came = HashSet::new();
    loop {
        match timeout(QUIET, events.poll()).await {
            Err(_) => return Ok((session_kept, came)),
            Ok(Ok(Event::Incoming(Incoming::ConnAck(ack)))) => session_kept = ack.session_present,
            Ok(Ok(Event::Incoming(Incoming::Publish(publish)))) => {
                let number =
                    publish.payload.get(..20).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
                match number {
                    Some(number) => drop(came.insert(number)),
                    None => bail!("a message that nobody published: {publish:?}"),
                }
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
