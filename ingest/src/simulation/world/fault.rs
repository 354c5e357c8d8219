//! What goes wrong, and the passing of time.

use super::{Ingest, Stage, Stepped, World};
use crate::simulation::{
    broker::Up,
    database::{Commit, Transaction},
    edge::Edge,
};

impl World {
    /// A transaction of which nobody waits for the answer ends.
    pub(super) fn orphan(&mut self) -> Stepped {
        if self.database.orphans.is_empty() {
            return Ok(false);
        }
        let at = self.rng.usize(..self.database.orphans.len());
        let orphan = self.database.orphans.swap_remove(at);
        self.end(&orphan)?;
        Ok(true)
    }

    pub(super) fn end(&mut self, orphan: &Transaction) -> Result<(), String> {
        let commits =
            self.rng.bool() && matches!(self.database.commit(orphan, false)?, Commit::Written { .. });
        tell!(self, "the orphan {:?} commits: {commits}", orphan.id);
        self.edges.hit(if commits { Edge::OrphanCommitted } else { Edge::OrphanRolledBack });
        Ok(())
    }

    pub(super) fn pass(&mut self) -> bool {
        self.now += if self.rng.u8(..) < 64 { self.limits.blocked } else { self.limits.linger / 2 };
        true
    }

    /// The network cuts a connection; the ingest may not see it for a while.
    pub(super) fn cut(&mut self, who: usize) -> bool {
        let (ingest, session) = (&mut self.ingests[who], &mut self.sessions[who]);
        ingest.ended = None;
        session.connection = None;
        let Some(link) = &mut ingest.link else { return false };
        if link.up.iter().any(|packet| matches!(packet, Up::Acknowledge(_))) {
            self.edges.hit(Edge::AcknowledgementsCut);
        }
        link.up.clear();
        link.down.truncate(self.rng.usize(..=link.down.len()));
        link.open = false;
        self.edges.hit(Edge::ConnectionCut);
        tell!(self, "the connection of {who} is cut");
        true
    }

    /// The broker loses a session: its store is gone.
    pub(super) fn forget(&mut self, who: usize) -> bool {
        self.cut(who);
        for parcel in self.sessions[who].forget() {
            self.sent[parcel.message as usize].owed = false;
        }
        self.edges.hit(Edge::BrokerForgot);
        tell!(self, "the broker forgets {who}");
        true
    }

    pub(super) fn toggle_database(&mut self) -> bool {
        self.database.down ^= true;
        tell!(self, "the database is down: {}", self.database.down);
        true
    }

    pub(super) fn drain(&mut self, who: usize) -> bool {
        let ingest = &mut self.ingests[who];
        ingest.draining = true;
        ingest.core.drain();
        tell!(self, "ingest {who} is told to end");
        true
    }

    /// Goes on anew once all is written and acknowledged.
    pub(super) fn ended_in_order(&mut self, who: usize) -> Stepped {
        self.acknowledge(who);
        let ingest = &mut self.ingests[who];
        let unsent = ingest.link.as_ref().is_some_and(|link| link.open && !link.up.is_empty());
        if !ingest.works.is_empty() || unsent {
            return Ok(false);
        }
        if ingest.core.held().messages != 0 {
            return Err(format!("drained, and still held: {:?}", ingest.core.held()));
        }
        self.edges.hit(Edge::Drained);
        tell!(self, "ingest {who} is drained");
        self.ingests[who] = Ingest::new(self.limits);
        self.sessions[who].connection = None;
        Ok(true)
    }

    pub(super) fn crash(&mut self, who: usize) -> bool {
        let ingest = &self.ingests[who];
        self.edges.hit(if ingest.works.iter().any(|work| work.stage == Stage::Committed) {
            Edge::CrashAfterCommit
        } else if !ingest.works.is_empty() {
            Edge::CrashWriting
        } else if 0 < ingest.core.held().messages {
            Edge::CrashHolding
        } else {
            Edge::CrashIdle
        });
        tell!(self, "ingest {who} is killed");
        self.restart(who);
        true
    }

    /// Ends an ingest in whatever state it is, and starts another on its session.
    pub(super) fn restart(&mut self, who: usize) {
        let mut before = std::mem::replace(&mut self.ingests[who], Ingest::new(self.limits));
        self.counts_lost = true;
        let committing = before.works.drain(..).filter(|work| work.stage == Stage::Committing);
        self.database.orphans.extend(committing.map(|work| work.transaction));
        // The kernel has the first of what was to be sent; the rest dies with the process.
        self.ingests[who].ended = before.link.filter(|link| link.open).map(|mut link| {
            link.up.truncate(self.rng.usize(..=link.up.len()));
            link
        });
    }
}
