use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::StoreError;
use crate::process::Rejection;

/// The ledger's source of a batch that processes rejected messages again.
pub(super) const SOURCE: &str = "redrive";

/// Open rejections whose messages a batch processes again. They are settled in the transaction that stores what now
/// fits; what is still refused is not kept a second time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settlement(pub Vec<Redriven>);

/// An open rejection on its way through the street again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redriven {
    pub id: i64,
    /// Index of its message in the batch.
    pub message: u32,
    pub reason: String,
    /// The reasons of all open rejections of that message, its own among them.
    pub open_reasons: BTreeSet<String>,
}

impl Settlement {
    pub(super) async fn apply(&self, client: &Client, refused: &[Rejection]) -> Result<(), StoreError> {
        let (settled, open) = self.verdicts(refused);
        let redriven = "UPDATE rejection SET state = 'redriven', settled_at = now() WHERE id = ANY($1) AND state = 'open'";
        let refused_again =
            "UPDATE rejection SET attempts = attempts + 1 WHERE id = ANY($1) AND state = 'open'";
        client.execute(redriven, &[&settled]).await?;
        client.execute(refused_again, &[&open]).await?;
        Ok(())
    }

    /// The ids of the rejections that are settled, and of those that stay open, by what was refused this time. One is
    /// settled when its reason is gone and no refusal is left that no other open rejection of its message stands for.
    pub fn verdicts(&self, refused: &[Rejection]) -> (Vec<i64>, Vec<i64>) {
        let settled = |redriven: &&Redriven| {
            let mut today =
                refused.iter().filter(|r| r.message == redriven.message).map(|r| r.reason.as_str());
            today.all(|reason| reason != redriven.reason && redriven.open_reasons.contains(reason))
        };
        let (settled, open): (Vec<&Redriven>, Vec<&Redriven>) = self.0.iter().partition(settled);
        (settled.iter().map(|r| r.id).collect(), open.iter().map(|r| r.id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    fn refused(message: u32, reason: Reason) -> Rejection {
        Rejection { message, reason, detail: String::new(), sha256: [0; 32], readings: 1 }
    }

    #[test]
    fn a_rejection_is_settled_when_its_reason_is_gone_and_nothing_else_is_lost() {
        let both = BTreeSet::from(["unit_mismatch".to_owned(), "future".to_owned()]);
        let of = |id, message, reason: &str, open_reasons: &BTreeSet<String>| Redriven {
            id,
            message,
            reason: reason.to_owned(),
            open_reasons: open_reasons.clone(),
        };
        let alone = BTreeSet::from(["no_mapping".to_owned()]);
        let settlement = Settlement(vec![
            of(1, 0, "unit_mismatch", &both),
            of(2, 0, "future", &both),
            of(3, 1, "no_mapping", &alone),
        ]);
        assert_eq!(settlement.verdicts(&[]), (vec![1, 2, 3], vec![]));
        // The units fit now; another rejection stands for what is still refused.
        assert_eq!(settlement.verdicts(&[refused(0, Reason::Future)]), (vec![1, 3], vec![2]));
        // A new reason stands nowhere yet: the old rejection keeps the message.
        assert_eq!(settlement.verdicts(&[refused(1, Reason::UnitMismatch)]), (vec![1, 2], vec![3]));
        assert_eq!(settlement.verdicts(&[refused(0, Reason::TooLate)]), (vec![3], vec![1, 2]));
    }
}
