use std::{collections::HashMap, ops::AddAssign};

use serde::Serialize;

/// One line of the ledger. Messages: received = accepted + repeated + ignored + rejected_messages.
/// Readings: decoded = stored + duplicate + conflict + rejected; late is a part of stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Counts {
    pub received: i64,
    pub accepted: i64,
    pub repeated: i64,
    pub ignored: i64,
    pub rejected_messages: i64,
    pub decoded: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub conflict: i64,
    pub rejected: i64,
    pub late: i64,
    /// Messages whose number came before with another payload; they are in another column, too.
    pub reused: i64,
    /// Rejections that were counted and not kept, because their source had too many.
    pub unkept: i64,
    /// Messages of QoS 0 that were dropped unread; they are not among the received.
    pub shed: i64,
    /// Of the stored: of sensors in quarantine.
    pub quarantined: i64,
}

/// What a batch adds to the ledger, by source and by hour of receipt.
#[derive(Debug)]
pub struct Tally<'n> {
    lines: Vec<Line<'n>>,
    /// The line of each message of the batch.
    of_message: Vec<usize>,
}

#[derive(Debug)]
pub struct Line<'n> {
    pub source: &'n str,
    /// Its start, in microseconds.
    pub hour: i64,
    pub counts: Counts,
}

impl<'n> Tally<'n> {
    /// For messages in their order, each with its source and the hour of its receipt.
    pub fn new(messages: impl Iterator<Item = (&'n str, i64)>) -> Self {
        let mut lines = Vec::new();
        let mut known: HashMap<(&str, i64), usize> = HashMap::new();
        let of_message = messages.map(|(source, hour)| {
            *known.entry((source, hour)).or_insert_with(|| {
                lines.push(Line { source, hour, counts: Counts::default() });
                lines.len() - 1
            })
        });
        let of_message = of_message.collect();
        Tally { lines, of_message }
    }

    /// The line that a message of the batch is counted in.
    pub fn of(&mut self, message: u32) -> &mut Counts {
        &mut self.lines[self.of_message[message as usize]].counts
    }

    /// Adds a line that no message has.
    pub fn add(&mut self, source: &'n str, hour: i64, counts: Counts) {
        self.lines.push(Line { source, hour, counts });
    }

    pub fn lines(&self) -> &[Line<'n>] {
        &self.lines
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.lines.iter().for_each(|line| total += line.counts);
        total
    }
}

impl Counts {
    pub const COLUMNS: [&str; 15] = [
        "received",
        "accepted",
        "repeated",
        "ignored",
        "rejected_messages",
        "decoded",
        "stored",
        "duplicate",
        "conflict",
        "rejected",
        "late",
        "reused",
        "unkept",
        "shed",
        "quarantined",
    ];

    /// In the order of [`Counts::COLUMNS`].
    pub fn values(&self) -> [i64; 15] {
        [
            self.received,
            self.accepted,
            self.repeated,
            self.ignored,
            self.rejected_messages,
            self.decoded,
            self.stored,
            self.duplicate,
            self.conflict,
            self.rejected,
            self.late,
            self.reused,
            self.unkept,
            self.shed,
            self.quarantined,
        ]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.ignored += other.ignored;
        self.rejected_messages += other.rejected_messages;
        self.decoded += other.decoded;
        self.stored += other.stored;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        self.rejected += other.rejected;
        self.late += other.late;
        self.reused += other.reused;
        self.unkept += other.unkept;
        self.shed += other.shed;
        self.quarantined += other.quarantined;
    }
}
