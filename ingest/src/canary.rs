//! A look at the broker before messages are entrusted to it: a client of our own comes, leaves, and comes back for what was
//! published meanwhile. A broker can keep our contract only if it keeps sessions and grants QoS 1; the rest is worth a
//! warning.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use anyhow::bail;
use processor::{model::Number, service::Backoff};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    address::Address,
    config::{Config, Protocol},
    session::{self, Choice, Incoming, Limits, Lost, Receiver, Sender, Version},
};

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    Off,
    /// A dozen round trips.
    Quick,
    /// Also how many messages the broker keeps for us: more than a thousand, which is the usual limit of those that drop.
    Full,
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Depth::Off),
            "quick" => Ok(Depth::Quick),
            "full" => Ok(Depth::Full),
            other => Err(format!("{other:?} is none of off, quick, full")),
        }
    }
}

/// What a look found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// What the broker is and does, a line each.
    pub facts: Vec<String>,
    /// Why nothing may be entrusted to it.
    pub refusal: Option<Finding>,
    pub warnings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub problem: String,
    pub advice: &'static str,
}

/// The largest payload that ingest decodes.
const PAYLOAD_BYTES: usize = 256 << 10;
/// Its topic, its number, and the packet's own fields.
const PACKET_BYTES: u32 = (PAYLOAD_BYTES + 1024) as u32;
/// Half as many again as the usual limit of brokers that drop.
const QUEUE_PROBE: u64 = 1_500;
/// How long the broker keeps the canary's session, should we die before it is ended.
const KEPT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Nothing more comes when nothing came for so long.
const QUIET: Duration = Duration::from_secs(1);
/// A look takes tens of milliseconds, a close one a second on a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_FULL: Duration = Duration::from_secs(30);

/// Looks until the broker answers, and says in the log what it found.
///
/// # Errors
/// The broker does not let us in, is not fit, or `shutdown` came first.
pub async fn before_start(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<()> {
    if config.broker_check == Depth::Off {
        return Ok(());
    }
    let address = config.broker()?;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let report = loop {
        match look(&address, config.broker_protocol, config.broker_check).await {
            Ok(report) => break report,
            Err(Lost::Refused(problem)) => bail!("the broker {address}: {problem}"),
            Err(lost) => warn!(broker = %address, error = %lost, "the broker does not answer, will retry"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = shutdown.cancelled() => bail!("stopped before the broker answered"),
        }
    };
    for fact in &report.facts {
        info!(broker = %address, "{fact}");
    }
    for Finding { problem, advice } in &report.warnings {
        warn!(broker = %address, advice, "{problem}");
    }
    match report.refusal {
        Some(Finding { problem, advice }) => bail!(
            "the broker {address} is not fit: {problem}; {advice}, or start with --broker-check off if you know better"
        ),
        None => Ok(()),
    }
}

/// Looks at a broker. Leaves nothing behind there.
///
/// # Errors
/// It cannot be reached, does not let us in, or hangs up.
pub async fn look(address: &Address, protocol: Protocol, depth: Depth) -> Result<Report, Lost> {
    let mut choice = Choice::new(protocol);
    let mut turned = false; // each version is tried once
    loop {
        let patience = if depth == Depth::Full { PATIENCE_FULL } else { PATIENCE };
        let canary = Canary::new(address, choice.version(), depth);
        let looked = timeout(patience, canary.look()).await;
        if looked.is_err() || looked.as_ref().is_ok_and(Result::is_ok) {
            // Ends the session, whatever came of it.
            let _ = timeout(PATIENCE, canary.come(&canary.name, Duration::ZERO)).await;
        }
        match looked {
            Ok(Err(lost)) if !turned && choice.turn(&lost) => turned = true,
            Ok(outcome) => return outcome,
            Err(_) => {
                let problem = format!("it does not take and give back a few messages within {patience:?}");
                return Err(Lost::Other(problem));
            }
        }
    }
}

struct Canary<'a> {
    address: &'a Address,
    version: Version,
    depth: Depth,
    /// Of the client; random, so that two canaries do not meet.
    name: String,
    topic: String,
}

/// How a message came back.
struct Came {
    /// Its number travelled with it.
    numbered: bool,
    /// On another topic than it left on.
    renamed: bool,
}

/// A connection that was accepted.
struct Visit {
    sender: Sender,
    receiver: Receiver,
    session_present: bool,
    limits: Limits,
}

impl<'a> Canary<'a> {
    fn new(address: &'a Address, version: Version, depth: Depth) -> Self {
        let random = fastrand::u64(..);
        let name = format!("screenline-canary-{random:016x}");
        let topic = format!("screenline/canary/{random:016x}.dot");
        Canary { address, version, depth, name, topic }
    }

    async fn look(&self) -> Result<Report, Lost> {
        let mut report = Report::default();
        // As long as ingest will ask for, to hear what the broker says to that.
        let mut first = self.come(&self.name, session::KEPT).await?;
        self.announced(&first.limits, &mut report);
        if !first.subscribe(&self.topic).await? {
            report.refusal = Some(Finding {
                problem: "it does not grant QoS 1: what it loses on the way to us would be lost unseen"
                    .to_owned(),
                advice: "allow our user to read and write screenline/#, and let the broker grant QoS 1",
            });
            return Ok(report);
        }
        first.leave().await;

        let sent = self.publish_while_away(&first.limits, &mut report).await?;
        let mut back = self.come(&self.name, KEPT).await?;
        if !back.session_present {
            report.refusal = Some(Finding {
                problem: "it forgot our session while we were away, and with it all that came meanwhile"
                    .to_owned(),
                advice: "let the broker keep persistent sessions (MQTT 5: session expiry of days; 3.1.1: clean session off)",
            });
            return Ok(report);
        }
        let kept = self.collect(&mut back, sent).await?;
        back.leave().await;
        self.compare(sent, &kept, &mut report);
        Ok(report)
    }

    /// What the broker says of itself.
    fn announced(&self, limits: &Limits, report: &mut Report) {
        if self.version == Version::V311 {
            let fact = "it speaks MQTT 3.1.1: it announces no limits, and numbers of messages must come from payloads";
            report.facts.push(fact.to_owned());
            return;
        }
        let packets =
            limits.packet_bytes.map_or_else(|| "any size".to_owned(), |n| format!("up to {n} bytes"));
        let window = limits.window.unwrap_or(u16::MAX);
        report
            .facts
            .push(format!("it speaks MQTT 5: packets of {packets}, {window} messages in flight to it"));
        let mut warn = |problem: &str, advice| {
            report.warnings.push(Finding { problem: problem.to_owned(), advice });
        };
        if limits.packet_bytes.is_some_and(|bytes| bytes < PACKET_BYTES) {
            warn(
                "it refuses payloads that ingest would take (256 KiB)",
                "raise its packet limit (mosquitto: max_packet_size 4325376)",
            );
        }
        if limits.retains == Some(false) {
            warn(
                "it keeps no retained messages: a gateway that comes back is not told what is committed, and sends again",
                "allow retained messages (mosquitto: retain_available true)",
            );
        }
        if limits.session_s.is_some_and(|seconds| u64::from(seconds) < DAY.as_secs()) {
            warn(
                "it keeps a session for less than a day while we are away",
                "raise its session expiry to seven days",
            );
        }
    }

    /// Says how many messages the broker acknowledged.
    async fn publish_while_away(&self, limits: &Limits, report: &mut Report) -> Result<u64, Lost> {
        let mut publisher = self.come(&format!("{}-out", self.name), Duration::ZERO).await?;
        let payload = |seq: u64| format!("{seq:020}");
        // One alone first: mosquitto hangs up on many that it denies.
        if !matches!(publisher.publish(&self.topic, [payload(1)]).await, Ok(true)) {
            report.warnings.push(Finding {
                problem: format!("it does not let us publish on {}", self.topic),
                advice: "allow our user to read and write screenline/#: the acknowledgement topic needs it",
            });
            return Ok(0);
        }
        let mut sent = if self.depth == Depth::Full { QUEUE_PROBE } else { 1 };
        if !publisher.publish(&self.topic, (2..=sent).map(payload)).await? {
            report.warnings.push(Finding {
                problem: format!("it refuses some of {sent} messages that come at once"),
                advice: "raise its limits for a client and for a queue, or let it block its publishers",
            });
            return Ok(0);
        }
        if limits.packet_bytes.is_none_or(|bytes| PACKET_BYTES <= bytes) {
            let filler = " ".repeat(PAYLOAD_BYTES - 20);
            match publisher.publish(&self.topic, [payload(sent + 1) + &filler]).await {
                Ok(taken) => sent += u64::from(taken),
                Err(_) => {
                    report.warnings.push(Finding {
                        problem: "it hangs up on a payload that ingest would take (256 KiB)".to_owned(),
                        advice: "raise its packet limit (mosquitto: max_packet_size 4325376)",
                    });
                    return Ok(sent);
                }
            }
        }
        publisher.leave().await;
        Ok(sent)
    }

    /// What was kept for us, by number.
    async fn collect(&self, back: &mut Visit, expected: u64) -> Result<BTreeMap<u64, Came>, Lost> {
        let mut kept = BTreeMap::new();
        while (kept.len() as u64) < expected {
            // A poll that is given up is the end of the connection: nothing more is asked of it.
            let Ok(next) = timeout(QUIET, back.receiver.poll()).await else { break };
            if let Incoming::Published { topic, payload, packet, number, .. } = next? {
                let seq = payload.get(..20).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
                let came = Came { numbered: number.is_some(), renamed: topic != self.topic };
                kept.extend(seq.map(|seq| (seq, came)));
                if let Some(packet) = packet {
                    back.sender.acknowledge(packet);
                }
            }
        }
        Ok(kept)
    }

    fn compare(&self, sent: u64, kept: &BTreeMap<u64, Came>, report: &mut Report) {
        let came = kept.len() as u64;
        report.facts.push(format!("it kept {came} of {sent} messages while we were away"));
        if came < sent {
            report.warnings.push(Finding {
                problem: format!(
                    "of {sent} messages that it acknowledged while we were away it kept {came}, and dropped the others \
                     silently: so it will with readings"
                ),
                advice: "raise its queue limits (mosquitto: max_queued_messages 0, and no message_size_limit)",
            });
        }
        if kept.values().any(|came| came.renamed) {
            report.warnings.push(Finding {
                problem: "it changes a topic that has a dot (RabbitMQ makes a slash of it): mappings will not find it, \
                          and a gateway with a dot in its name will not hear what is committed"
                    .to_owned(),
                advice: "use no dots in topics, nor in names of gateways and sensors that stand in topics",
            });
        }
        if self.version == Version::V5 && kept.values().any(|came| !came.numbered) {
            report.warnings.push(Finding {
                problem: "this broker or a bridge strips user properties: numbers must come from the payload"
                    .to_owned(),
                advice: "let publishers put them there as well, as `screenline gateway run` does",
            });
        }
    }

    async fn come(&self, name: &str, kept: Duration) -> Result<Visit, Lost> {
        let (sender, mut receiver) = session::connect(self.address, name, kept, self.version);
        loop {
            if let Incoming::Connected { session_present, limits } = receiver.poll().await? {
                return Ok(Visit { sender, receiver, session_present, limits });
            }
        }
    }
}

impl Visit {
    /// Whether QoS 1 was granted.
    async fn subscribe(&mut self, topic: &str) -> Result<bool, Lost> {
        self.sender.subscribe(&[topic.to_owned()]).map_err(|error| Lost::Other(error.to_string()))?;
        loop {
            if let Incoming::Subscribed { granted } = self.receiver.poll().await? {
                return Ok(granted);
            }
        }
    }

    /// Whether the broker took them all.
    async fn publish(
        &mut self,
        topic: &str,
        payloads: impl IntoIterator<Item = String>,
    ) -> Result<bool, Lost> {
        let mut waiting = 0;
        for payload in payloads {
            let number = Number { source: "canary".into(), epoch: 0, seq: 1 };
            let sent = self.sender.publish(topic, payload.into(), &number);
            sent.map_err(|error| Lost::Other(error.to_string()))?;
            waiting += 1;
        }
        let mut all = true;
        while 0 < waiting {
            if let Incoming::Acknowledged { taken } = self.receiver.poll().await? {
                all &= taken;
                waiting -= 1;
            }
        }
        Ok(all)
    }

    async fn leave(&mut self) {
        self.sender.disconnect();
        while let Ok(incoming) = self.receiver.poll().await {
            if matches!(incoming, Incoming::Disconnected) {
                return;
            }
        }
    }
}
