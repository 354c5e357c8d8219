use std::sync::Arc;

use bytes::Bytes;

use super::{SensorId, Time};

/// One MQTT message as a broker handed it over.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub received_at: Time,
    /// Delivered because we subscribed, not because it was published just now.
    pub retained: bool,
    /// By its publisher, where the transport carried one; a mapping may find one in the payload.
    pub number: Option<Number>,
}

/// The first message of a sensor that nobody announced, as it is kept for whoever adopts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct First {
    pub topic: String,
    pub payload: Bytes,
    /// Of the whole payload.
    pub payload_bytes: usize,
    pub received_at: Time,
}

/// A payload is kept to this length.
pub const KEPT_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// A topic is kept to this length: it fits into an index beside a reason and a hash, whose entries may have 2,700 bytes.
pub const KEPT_TEXT_BYTES_MAX: usize = 1_024;

impl Message {
    /// The topic as a table can hold it.
    pub fn kept_topic(&self) -> String {
        kept_text(&self.topic)
    }

    /// What is kept of it where it is a sensor's first, with as much of its payload as may be kept.
    pub fn first(&self, payload: Option<&[u8]>) -> First {
        First {
            topic: self.kept_topic(),
            payload: Bytes::copy_from_slice(kept_start(payload.unwrap_or_default())),
            payload_bytes: self.payload.len(),
            received_at: self.received_at,
        }
    }
}

/// As much of a payload as is kept.
pub fn kept_start(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(KEPT_PAYLOAD_BYTES_MAX)]
}

/// A text as PostgreSQL can hold it: without NUL, and of bounded length.
pub fn kept_text(text: &str) -> String {
    text[..text.floor_char_boundary(KEPT_TEXT_BYTES_MAX)].replace('\0', "?")
}

/// A publisher's own count of its messages: says what is missing, and what came before.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Number {
    /// Who counts: a name as a sensor's.
    pub source: Arc<str>,
    /// Grows when the publisher starts to count anew.
    pub epoch: i64,
    /// From 1, without gaps.
    pub seq: i64,
}

impl Number {
    /// `None` where it cannot be one: a name of 1 to 64 characters that may name a sensor and a topic level, an epoch
    /// from 0, a number from 1 below 2^62.
    pub fn new(source: &str, epoch: i64, seq: i64) -> Option<Number> {
        let named = SensorId::allows(source) && source.len() <= 64 && !source.contains(['/', '+', '#']);
        (named && 0 <= epoch && 0 < seq && seq < 1 << 62).then(|| Number {
            source: source.into(),
            epoch,
            seq,
        })
    }
}

/// Names a batch's transaction: its row in `batch` says whether the transaction committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchId(pub i64);

/// Messages that are stored in one transaction, in order of arrival.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: BatchId,
    pub messages: Vec<Message>,
    /// Messages of QoS 0 that were dropped unread since the batch before.
    pub shed: u64,
}
