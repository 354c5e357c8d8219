//! What goes wrong in a run, drawn from its seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

/// One fault of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub target: Target,
    pub blow: Blow,
    pub moment: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Ingest,
    Query,
    Broker,
    Postmaster,
    /// The database's process behind the writer's connection, or the roller's.
    Backend(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    Kill,
    /// SIGTERM; to the postmaster SIGINT, because it waits on SIGTERM until its clients leave.
    Terminate,
    /// SIGSTOP, and SIGCONT so many seconds later.
    Stop(u64),
    /// At a failpoint: what stands there fails.
    Error,
    /// `pg_terminate_backend`.
    Disconnect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// So long after the load began.
    AfterMs(u64),
    /// At the nth passage of a failpoint.
    Point(&'static str, u32),
}

/// Failpoints and how often a run passes them at least, roughly.
const POINTS: [(&str, u32); 19] = [
    ("ingest.received", 150),
    ("ingest.batched", 10),
    ("ingest.decoded", 10),
    ("ingest.before_ack", 10),
    ("ingest.mid_ack", 10),
    ("ingest.after_ack", 10),
    ("writer.begun", 10),
    ("writer.claimed", 10),
    ("writer.copied", 10),
    ("writer.counted", 10),
    ("writer.before_commit", 10),
    ("writer.after_commit", 10),
    ("partition.made", 2),
    ("registry.registered", 1),
    ("roller.taken", 3),
    ("roller.read", 3),
    ("roller.replaced", 3),
    ("roller.before_commit", 3),
    ("roller.after_commit", 3),
];

/// The length of the load that the moments fall into.
pub const LOAD: Duration = Duration::from_millis(1_200);

impl Fault {
    /// `broker_keeps` says whether the broker may be killed: whether messages outlive it.
    pub fn draw(rng: &mut Rng, broker_keeps: bool) -> Fault {
        let moment = moment(rng);
        let stop = stop(rng);
        let (target, blow, moment) = match rng.u32(..100) {
            0..55 => {
                let (point, passages) = POINTS[rng.usize(..POINTS.len())];
                let blow = any(rng, &[Blow::Kill, Blow::Kill, Blow::Kill, Blow::Error, Blow::Error, stop]);
                (Target::Ingest, blow, Moment::Point(point, rng.u32(1..=passages)))
            }
            55..70 => (Target::Ingest, any(rng, &[Blow::Kill, Blow::Terminate, stop]), moment),
            70..74 => (Target::Query, any(rng, &[Blow::Kill, Blow::Terminate, stop]), moment),
            74..82 => return Fault::of_the_broker(rng, broker_keeps),
            82..90 => (Target::Postmaster, any(rng, &[Blow::Kill, Blow::Terminate, stop]), moment),
            _ => {
                let whose = ["screenline-writer", "screenline-roller"][rng.usize(..2)];
                (
                    Target::Backend(whose),
                    any(rng, &[Blow::Kill, Blow::Disconnect, Blow::Disconnect, stop]),
                    moment,
                )
            }
        };
        Fault { target, blow, moment }
    }

    pub fn of_the_broker(rng: &mut Rng, broker_keeps: bool) -> Fault {
        let (moment, stop) = (moment(rng), stop(rng));
        let kill = if broker_keeps { Blow::Kill } else { Blow::Terminate };
        Fault { target: Target::Broker, blow: any(rng, &[kill, Blow::Terminate, stop]), moment }
    }
}

fn any(rng: &mut Rng, blows: &[Blow]) -> Blow {
    blows[rng.usize(..blows.len())]
}

fn moment(rng: &mut Rng) -> Moment {
    Moment::AfterMs(rng.u64(50..LOAD.as_millis() as u64))
}

/// Mostly shorter than a broker's patience with a silent client, rarely as long.
fn stop(rng: &mut Rng) -> Blow {
    Blow::Stop(if rng.u32(..100) == 0 { 90 } else { 5 })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blow {
            Blow::Kill => f.write_str("kill -9 "),
            Blow::Terminate => f.write_str("terminate "),
            Blow::Stop(seconds) => write!(f, "stop for {seconds} s "),
            Blow::Error => f.write_str("error in "),
            Blow::Disconnect => f.write_str("disconnect "),
        }?;
        match self.target {
            Target::Ingest => f.write_str("ingest"),
            Target::Query => f.write_str("query"),
            Target::Broker => f.write_str("the broker"),
            Target::Postmaster => f.write_str("the postmaster"),
            Target::Backend(whose) => write!(f, "the backend of {whose}"),
        }?;
        match self.moment {
            Moment::AfterMs(ms) => write!(f, " after {ms} ms"),
            Moment::Point(point, nth) => write!(f, " at {point}, passage {nth}"),
        }
    }
}
