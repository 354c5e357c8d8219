//! Reads a recording, and spreads its messages over connections so that each topic stays on one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::pace::Pace;
use super::{Bound, Config, History, Progress, Repeat, Speed};
use crate::recording::{Extent, Message, Window};

/// A bundle is handed over at so many messages: a wake-up for each would cost more than the message.
const BUNDLE_MESSAGES: usize = 64;
/// And at so many bytes.
const BUNDLE_BYTES: usize = 256 << 10;
/// Bundles that wait for a connection: with the one that is filled, what is read ahead of it.
const BUNDLES_MAX: usize = 4;

/// A message, when it is to be published, and by how many seconds its times are moved.
pub(super) struct Due {
    pub(super) message: Message,
    pub(super) moved_s: i64,
    pub(super) pace: Pace,
}

/// What the reader found beside the messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) cut_bytes: u64,
    pub(super) gaps: u64,
}

pub(super) type Lane = mpsc::Receiver<Vec<Due>>;

pub(super) fn channels(connections: usize) -> (Lanes, Vec<Lane>) {
    let (senders, lanes): (Vec<_>, Vec<_>) = (0..connections).map(|_| mpsc::channel(BUNDLES_MAX)).unzip();
    let lane = |to| Filling { to, bundle: Vec::new(), bytes: 0 };
    (Lanes(senders.into_iter().map(lane).collect()), lanes)
}

/// The ends that messages are put into.
pub(super) struct Lanes(Vec<Filling>);

struct Filling {
    to: mpsc::Sender<Vec<Due>>,
    bundle: Vec<Due>,
    bytes: usize,
}

/// Nobody takes messages any more.
struct Closed;

impl Filling {
    /// False when there is no room.
    fn try_flush(&mut self) -> Result<bool, Closed> {
        if self.bundle.is_empty() {
            return Ok(true);
        }
        self.bytes = 0;
        match self.to.try_send(std::mem::take(&mut self.bundle)) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(bundle)) => {
                self.bundle = bundle;
                Ok(false)
            }
            Err(TrySendError::Closed(_)) => Err(Closed),
        }
    }
}

impl Lanes {
    fn put(&mut self, due: Due, source_levels: Option<usize>) -> Result<(), Closed> {
        let connections = self.0.len() as u64;
        let at = (xxh3_64(source(&due.message.topic, source_levels).as_bytes()) % connections) as usize;
        let lane = &mut self.0[at];
        lane.bytes += due.message.payload.len();
        lane.bundle.push(due);
        if BUNDLE_MESSAGES <= lane.bundle.len() || BUNDLE_BYTES <= lane.bytes {
            self.flush(at)?;
        }
        Ok(())
    }

    fn flush(&mut self, at: usize) -> Result<(), Closed> {
        if self.0[at].try_flush()? {
            return Ok(());
        }
        // While this one waits, what the others are to publish before must not wait with it.
        for other in &mut self.0 {
            other.try_flush()?;
        }
        let lane = &mut self.0[at];
        lane.to.blocking_send(std::mem::take(&mut lane.bundle)).map_err(|_| Closed)
    }

    fn flush_all(&mut self) -> Result<(), Closed> {
        (0..self.0.len()).try_for_each(|at| self.flush(at))
    }
}

/// The part of a topic that names its source.
fn source(topic: &str, levels: Option<usize>) -> &str {
    let end = levels.and_then(|levels| topic.match_indices('/').nth(levels.saturating_sub(1)));
    end.map_or(topic, |(at, _)| &topic[..at])
}

/// Reads until the end, or until nobody takes messages any more. Decompression blocks: this is for a thread of its own.
pub(super) fn read(config: &Config, progress: &Arc<Progress>, mut lanes: Lanes) -> anyhow::Result<Found> {
    let whole = match config.recording.is_stream() {
        true => None,
        false => match config.recording.extent(Window::default())? {
            None => return Ok(Found::default()), // an empty recording, and a loop over it would never end
            some => some,
        },
    };
    let window = whole.map(|whole| window(config, whole.first)).transpose()?;
    let extent = match (whole, window) {
        (Some(_), Some(window)) => match config.recording.extent(window)? {
            None => return Ok(Found::default()),
            some => some,
        },
        _ => None,
    };
    let mut round =
        Round { config, progress, window, extent, first: None, start: None, moved_s: 0, number: 0 };
    loop {
        let (found, going) = round.play(&mut lanes)?;
        round.number += 1;
        let again = match config.repeat {
            Repeat::Once => false,
            Repeat::Times(rounds) => round.number < u64::from(rounds),
            Repeat::Forever | Repeat::Live => true,
        };
        if !going || !again || round.first.is_none() {
            return Ok(found);
        }
    }
}

fn window(config: &Config, first: Timestamp) -> anyhow::Result<Window> {
    let at = |bound: Option<Bound>| {
        let at = |bound| match bound {
            Bound::At(t) => Ok(t),
            Bound::After(offset) => first.checked_add(offset).context("a time that far from the first"),
        };
        bound.map(at).transpose()
    };
    Ok(Window { from: at(config.from)?, to: at(config.to)? })
}

struct Round<'a> {
    config: &'a Config,
    progress: &'a Progress,
    /// Known for a file from the start, for a stream from its first message.
    window: Option<Window>,
    /// Of the window; `None` for a stream.
    extent: Option<Extent>,
    /// The time of the first message that is played.
    first: Option<Timestamp>,
    start: Option<Instant>,
    /// In this round.
    moved_s: i64,
    /// Rounds before this one.
    number: u64,
}

impl Round<'_> {
    /// Says whether anybody still takes messages.
    fn play(&mut self, lanes: &mut Lanes) -> anyhow::Result<(Found, bool)> {
        let total = &self.progress.total;
        let mut stated = self.extent.map_or(0, |extent| extent.messages);
        total.fetch_add(stated, Ordering::Relaxed);
        if 0 < self.number {
            self.moved_s = self.moved_s.saturating_add(self.period_s());
        }
        let mut reader = self.config.recording.read_within(self.window.unwrap_or_default())?;
        let (mut offered, mut going) = (0, true);
        while let Some(message) = reader.next() {
            let message = message?;
            let window = match self.window {
                Some(window) => window,
                None => *self.window.insert(window(self.config, message.t)?),
            };
            if !window.contains(message.t) || !self.config.wanted.takes(&message.topic) {
                if offered < stated {
                    stated -= 1;
                    total.fetch_sub(1, Ordering::Relaxed);
                }
                // Those that were wanted must not wait for others either.
                going = reader.is_ready() || lanes.flush_all().is_ok();
                if !going {
                    break;
                }
                continue;
            }
            offered += 1;
            if stated < offered {
                stated += 1;
                total.fetch_add(1, Ordering::Relaxed);
            }
            let due = self.due(message)?;
            going = lanes.put(due, self.config.source_levels).is_ok();
            // A message from a pipe must not wait for those that follow.
            going = going && (reader.is_ready() || lanes.flush_all().is_ok());
            if !going {
                break;
            }
        }
        if going {
            total.fetch_sub(stated - offered, Ordering::Relaxed);
            going = lanes.flush_all().is_ok();
        }
        Ok((Found { cut_bytes: reader.cut_bytes(), gaps: reader.gaps() }, going))
    }

    fn due(&mut self, message: Message) -> anyhow::Result<Due> {
        if self.first.is_none() {
            self.moved_s = match self.config.history {
                History::AsRecorded => 0,
                History::EndingNow => {
                    let extent = self.extent.context("where a stream ends is not known: give a file")?;
                    Timestamp::now().duration_since(extent.last).as_secs()
                }
                History::BeginningNow => Timestamp::now().duration_since(message.t).as_secs(),
                History::BeginningAt(t) => t.duration_since(message.t).as_secs(),
            };
        }
        let first = *self.first.get_or_insert(message.t);
        let start = *self.start.get_or_insert_with(Instant::now);
        let before_s = self.period_s().saturating_mul(i64::try_from(self.number)?);
        let pace = match (self.config.repeat, self.number, self.config.history, self.config.speed) {
            (Repeat::Live, 1.., History::EndingNow, _) => Pace::Clock,
            (Repeat::Live, 1.., ..) => Pace::From { start, first, before_s, times: 1.0 },
            (_, _, _, Speed::Max) => Pace::Max,
            (_, _, _, Speed::Times(times)) => Pace::From { start, first, before_s, times },
        };
        Ok(Due { message, moved_s: self.moved_s, pace })
    }

    /// By how much a round is later than the one before.
    fn period_s(&self) -> i64 {
        let lasts =
            || self.extent.map_or(SignedDuration::ZERO, |extent| extent.last.duration_since(extent.first));
        self.config.recording.header().period_s.map_or_else(|| lasts().as_secs() + 1, i64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_the_first_levels() {
        assert_eq!(source("city/water/1/register", None), "city/water/1/register");
        assert_eq!(source("city/water/1/register", Some(3)), "city/water/1");
        assert_eq!(source("city/water", Some(3)), "city/water");
        assert_eq!(source("city/water", Some(1)), "city");
    }
}
