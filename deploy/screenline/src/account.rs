//! The final account: every message that was received, and what became of it.

use std::fmt::Write;

use processor::store::Account;
use serde::Serialize;

/// The account with the verdict on its sums, as `demo --json` prints it.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    #[serde(flatten)]
    account: &'a Account,
    /// Messages that the replay handed to the broker.
    published: u64,
    sums_hold: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl<'a> Report<'a> {
    pub fn new(account: &'a Account, published: u64) -> Self {
        let problems = problems(account);
        Self { account, published, sums_hold: problems.is_empty(), problems }
    }

    /// Whether every message and reading is in exactly one place.
    pub fn sums_hold(&self) -> bool {
        self.sums_hold
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let a = self.account;
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
        row("in table `reading`", a.readings, "");
        row("in table `event`", a.events, "passages");
        row("sensors", a.sensors, "");
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

/// The sums that do not hold.
fn problems(a: &Account) -> Vec<String> {
    let sum = |whole: i64, name: &str, parts: &[(&str, i64)]| {
        let total: i64 = parts.iter().map(|(_, number)| number).sum();
        let names =
            parts.iter().map(|(name, number)| format!("{number} {name}")).collect::<Vec<_>>().join(" + ");
        (total != whole).then(|| format!("{whole} {name}, but {names} = {total}"))
    };
    [
        sum(
            a.received,
            "messages received",
            &[
                ("accepted", a.accepted),
                ("repeated", a.repeated),
                ("ignored", a.ignored),
                ("rejected", a.rejected_messages),
            ],
        ),
        sum(
            a.decoded,
            "readings decoded",
            &[
                ("stored", a.stored),
                ("duplicate", a.duplicate),
                ("conflict", a.conflict),
                ("rejected", a.rejected),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn water() -> Account {
        Account {
            received: 40_808,
            accepted: 40_808,
            decoded: 40_808,
            stored: 40_606,
            duplicate: 202,
            sensors: 61,
            readings: 40_606,
            repeated: 0,
            ignored: 0,
            rejected_messages: 0,
            conflict: 0,
            rejected: 0,
            late: 0,
            events: 0,
            dirty: 0,
        }
    }

    #[test]
    fn an_account_whose_sums_hold_says_so() {
        let account = water();
        let report = Report::new(&account, 40_808);
        assert!(report.sums_hold() && account.balances());
        let text = report.text();
        assert!(text.contains("40,606") && text.contains("sums hold"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["stored"], 40_606);
        assert_eq!(json["sums_hold"], true);
        assert!(json.get("problems").is_none());
    }

    #[test]
    fn a_reading_that_is_nowhere_is_found_by_the_sums() {
        let account = Account { stored: 40_605, ..water() };
        let report = Report::new(&account, 40_808);
        assert!(!report.sums_hold());
        assert!(
            report.text().contains("40808 readings decoded, but 40605 stored + 202 duplicate"),
            "{}",
            report.text()
        );
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
