//! I6: what `source_position` remembers against the numbers that were sent.

use std::collections::BTreeMap;

use super::expectation::{Expectation, Sent};
use super::judge::{Finding, Look};
use super::tables::{Position, Tables};

pub(super) fn contiguous(expected: &Expectation, tables: &Tables) -> Finding {
    let mut look =
        Look::at("I6", "every number that came is remembered, and the gaps are those that were left");
    let (mut numbers, mut gaps) = (0, 0);
    for (key, sent) in &expected.numbers {
        let (source, epoch) = (key.0.to_string(), key.1);
        let nothing = Position::default();
        let position = tables.positions.get(&(source.clone(), epoch)).unwrap_or(&nothing);
        let seen = |seq: i64| position.seen.iter().any(|(from, to)| *from <= seq && seq < *to);
        numbers += sent.len();
        gaps += expected.gaps(key).len();
        // A number that was not kept is not forgotten: it is counted.
        let forgotten: Vec<i64> =
            sent.iter().filter(|(seq, sent)| sent.taken && !seen(**seq)).map(|(seq, _)| *seq).collect();
        if position.untracked < forgotten.len() as i64 {
            let first = &forgotten[..forgotten.len().min(10)];
            look.pending(|| {
                format!("{source} epoch {epoch}: {} numbers are not remembered: {first:?}", forgotten.len())
            });
        }
        for seq in position.seen.iter().flat_map(|(from, to)| *from..*to) {
            if !sent.contains_key(&seq) {
                look.never(|| format!("{source} epoch {epoch}: {seq} was never sent"));
            }
        }
        refused(&mut look, &source, position, sent);
    }
    look.done(format!("{numbers} numbers of {} publishers, {gaps} gaps", expected.numbers.len()))
}

/// The numbers of which something was refused: at least those that were taken, at most those that were sent.
fn refused(look: &mut Look, source: &str, position: &Position, sent: &BTreeMap<i64, Sent>) {
    let count = |taken_only: bool| {
        let refused = sent.values().filter(|sent| 0 < sent.refused && (sent.taken || !taken_only));
        refused.count() as i64
    };
    if count(false) < position.rejected {
        look.never(|| format!("{source}: {} numbers rejected, {} can be", position.rejected, count(false)));
    }
    if position.rejected < count(true) {
        look.pending(|| format!("{source}: {} numbers rejected of {}", position.rejected, count(true)));
    }
}
