//! What a schedule can meet. A simulation that never meets one of these proves nothing about it.

use std::fmt;

macro_rules! edges {
    ($($edge:ident,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Edge { $($edge,)* }

        impl Edge {
            pub const ALL: &[Edge] = &[$(Edge::$edge,)*];
        }
    };
}

edges! {
    SessionNew,
    SessionKept,
    SessionForgotten,
    SubscriptionGranted,
    SubscriptionDenied,
    ConnectionCut,
    ConnectionTakenOver,
    AcknowledgementsCut,
    AcknowledgedAfterCrash,
    MessageTaken,
    MessageShed,
    MessageBlocked,
    MessageRefused,
    MessageRedelivered,
    MessageDuplicated,
    WindowExceeded,
    PacketReused,
    UnpromisedLost,
    ConnectionLetGo,
    ConnectionHeldBack,
    BatchFull,
    BatchLingered,
    BatchDrained,
    BatchOfShedOnly,
    BatchesAtLimit,
    Committed,
    CommittedOutOfOrder,
    CommittedWhileDisconnected,
    CommittedForOldConnection,
    LostWhileAcknowledging,
    KeyStored,
    MessageRejected,
    MessageRejectedAgain,
    WriteFailed,
    OutcomeUnknown,
    SettledById,
    OrphanCommitted,
    OrphanRolledBack,
    DatabaseDown,
    CrashIdle,
    CrashHolding,
    CrashWriting,
    CrashAfterCommit,
    Drained,
    GaveUp,
    BrokerForgot,
    SharedByTwo,
}

/// How often each edge was met.
#[derive(Clone, Debug)]
pub struct Edges([u64; Edge::ALL.len()]);

impl Default for Edges {
    fn default() -> Self {
        Edges([0; Edge::ALL.len()])
    }
}

impl Edges {
    pub fn hit(&mut self, edge: Edge) {
        self.0[edge as usize] += 1;
    }

    pub fn add(&mut self, other: &Edges) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    pub fn missed(&self) -> impl Iterator<Item = Edge> {
        Edge::ALL.iter().copied().filter(|edge| self.0[*edge as usize] == 0)
    }
}

impl fmt::Display for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hit = Edge::ALL.len() - self.missed().count();
        writeln!(f, "{hit} of {} edges met", Edge::ALL.len())?;
        for edge in Edge::ALL {
            writeln!(f, "{:>12} {edge:?}", self.0[*edge as usize])?;
        }
        Ok(())
    }
}
