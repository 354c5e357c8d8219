use bytes::Bytes;

use super::Time;

/// One MQTT message as a broker handed it over.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub received_at: Time,
    /// Delivered because we subscribed, not because it was published just now.
    pub retained: bool,
}

/// Names a batch's transaction: its row in `batch` says whether the transaction committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchId(pub i64);

/// Messages that are stored in one transaction, in order of arrival.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: BatchId,
    pub messages: Vec<Message>,
}
