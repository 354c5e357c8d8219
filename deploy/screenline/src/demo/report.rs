//! The final account: every message that was received, and what became of it.

use std::fmt::Write;

use processor::store::Totals;
use serde::Serialize;

use crate::paper::thousands;

/// The account with the verdict on its sums, as `demo --json` prints it.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    #[serde(flatten)]
    account: &'a Totals,
    /// Messages that the replay handed to the broker.
    published: u64,
    sums_hold: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl<'a> Report<'a> {
    pub fn new(account: &'a Totals, published: u64) -> Self {
        let problems = account.counts.problems();
        Self { account, published, sums_hold: problems.is_empty(), problems }
    }

    /// Whether every message and reading is in exactly one place.
    pub fn sums_hold(&self) -> bool {
        self.sums_hold
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let (totals, a) = (self.account, &self.account.counts);
        let mut text = String::from("Final account\n");
        let mut row = |name: &str, number: i64, note: &str| {
            let _ = writeln!(text, "{}", format!("  {name:<22}{:>14}  {note}", thousands(number)).trim_end());
        };
        row("messages published", self.published.cast_signed(), "by this demo");
        row("messages received", a.received, "by ingest, over the life of this database");
        row("  accepted", a.accepted, "");
        row("  repeated", a.repeated, "numbered by their source, and known");
        row("  ignored", a.ignored, "no mapping wants their topic");
        row("  rejected", a.rejected_messages, "kept in the table `rejection`");
        row("readings decoded", a.decoded, "passages are counted with them");
        row("  stored", a.stored, "");
        row("  duplicate", a.duplicate, "the same key and value once more");
        row("  conflict", a.conflict, "the same key with another value: the first stays");
        row("  rejected", a.rejected, "");
        row("late", a.late, "of the stored");
        row("in table `reading`", totals.readings, "");
        row("in table `event`", totals.events, "passages");
        row("sensors", totals.sensors, "");
        if self.sums_hold {
            text.push_str(
                "The ledger's sums hold: every message and every reading is in exactly one place.\n",
            );
        }
        for problem in &self.problems {
            let _ = writeln!(text, "THE LEDGER'S SUMS DO NOT HOLD: {problem}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use processor::store::Counts;

    use super::*;

    fn water() -> Totals {
        let counts = Counts {
            received: 40_808,
            accepted: 40_808,
            decoded: 40_808,
            stored: 40_606,
            duplicate: 202,
            ..Counts::default()
        };
        Totals { counts, sensors: 61, readings: 40_606, ..Totals::default() }
    }

    #[test]
    fn an_account_whose_sums_hold_says_so() {
        let account = water();
        let report = Report::new(&account, 40_808);
        assert!(report.sums_hold());
        let text = report.text();
        assert!(text.contains("40,606") && text.contains("sums hold"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["stored"], 40_606);
        assert_eq!(json["sums_hold"], true);
        assert!(json.get("problems").is_none());
    }

    #[test]
    fn a_reading_that_is_nowhere_is_said() {
        let mut account = water();
        account.counts.stored -= 1;
        let report = Report::new(&account, 40_808);
        assert!(!report.sums_hold());
        assert!(
            report.text().contains("40808 readings decoded, but 40605 stored + 202 duplicate"),
            "{}",
            report.text()
        );
    }
}
