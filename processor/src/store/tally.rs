use std::{
    collections::BTreeMap,
    ops::{AddAssign, Index},
};

/// One line of the ledger. Messages: received = accepted + repeated + ignored + rejected_messages.
/// Readings: decoded = stored + duplicate + conflict + rejected; late is a part of stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
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
}

/// What a batch adds to the ledger, by source and by hour of receipt.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally(BTreeMap<(Option<u16>, i64), Counts>);

impl Tally {
    /// The line of a mapping's source (none for a topic without one) and of an hour, its start in microseconds.
    pub fn line(&mut self, source: Option<u16>, hour: i64) -> &mut Counts {
        self.0.entry((source, hour)).or_default()
    }

    pub fn lines(&self) -> impl Iterator<Item = (Option<u16>, i64, &Counts)> {
        self.0.iter().map(|((source, hour), counts)| (*source, *hour, counts))
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.0.values().for_each(|counts| total += *counts);
        total
    }
}

impl Counts {
    pub const COLUMNS: [&str; 11] = [
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
    ];

    fn all(&self) -> [&i64; 11] {
        [
            &self.received,
            &self.accepted,
            &self.repeated,
            &self.ignored,
            &self.rejected_messages,
            &self.decoded,
            &self.stored,
            &self.duplicate,
            &self.conflict,
            &self.rejected,
            &self.late,
        ]
    }
}

impl Index<usize> for Counts {
    type Output = i64;

    /// By position in [`Counts::COLUMNS`].
    fn index(&self, column: usize) -> &i64 {
        self.all()[column]
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
    }
}
