//! The account as people see it: what is missing first, then the hours, then the sums.

use std::{collections::BTreeMap, fmt::Write};

use jiff::{Timestamp, ToSpan, civil};
use processor::store::{
    Account,
    account::{Hour, Source},
    gap::Gaps,
};

use super::Sheet;
use crate::paper::{Paint, Table, bar, count, level, percent, printable, thousands};

/// Lines that explain hours; of more, those of which most is missing.
const LINES_MAX: usize = 24;
const BAR_LETTERS: usize = 12;

pub fn account(account: &Account, sheet: &Sheet<'_>) -> String {
    let paint = sheet.paint;
    let mut text = paint.bold(&format!("Account {}\n", sheet.period_text()));
    text += &headline(account, paint);
    let sections = [
        ("Hours", hours(&account.hours, sheet)),
        ("Not complete", incomplete(account, sheet)),
        ("Numbers that never came", missing(&account.missing, sheet)),
        ("Rejections", rejections(account, paint)),
        ("What came in, in messages", messages(account, paint)),
        ("Where it went, in readings", readings(account, paint)),
    ];
    for (heading, section) in sections {
        if !section.is_empty() {
            let _ = write!(text, "\n{}\n{section}", paint.bold(heading)); // into a String: cannot fail
        }
    }
    text.push('\n');
    for problem in &account.problems {
        text += &paint.bad(&format!("THE SUMS DO NOT HOLD: {problem}\n"));
    }
    if account.problems.is_empty() {
        text += &paint.good("The sums hold: every message and every reading is in exactly one place.\n");
    }
    text
}

/// What is missing, in a sentence.
fn headline(account: &Account, paint: Paint) -> String {
    let over = account.hours.iter().filter(|hour| !hour.open).count() as i64;
    let incomplete = account.incomplete().count() as i64;
    let short = account.incomplete().fold(0, |sum, hour| sum + hour.heard.short_readings());
    let some = |number: i64, text: String| (0 < number).then_some(text);
    let missing = account.missing_messages();
    let parts = [
        some(missing, count(missing, "numbered message never came", "numbered messages never came")),
        some(
            short,
            count(short, "reading that was due is not there", "readings that were due are not there"),
        ),
        some(
            account.total.shed,
            count(account.total.shed, "message of QoS 0 was shed", "messages of QoS 0 were shed"),
        ),
        some(
            account.open_rejections(),
            count(account.open_rejections(), "rejection is open", "rejections are open"),
        ),
        some(
            incomplete,
            format!("{} of {} not complete", thousands(incomplete), count(over, "hour is", "hours are")),
        ),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        return paint.bad("Missing: ") + &parts.join("; ") + ".\n";
    }
    let nothing_due = account.hours.iter().all(|hour| hour.share().is_none());
    match nothing_due {
        true => "Nothing was due, so nothing can be said to be missing.\n".to_owned(),
        false => paint.good("Nothing is known to be missing.\n"),
    }
}

/// A line a day, a letter an hour.
fn hours(hours: &[Hour], sheet: &Sheet<'_>) -> String {
    let mut days: BTreeMap<civil::Date, Vec<(i8, &Hour)>> = BTreeMap::new();
    for hour in hours {
        let local = sheet.city.time_zone.to_datetime(hour.hour);
        days.entry(local.date()).or_default().push((local.hour(), hour));
    }
    let paint = sheet.paint;
    let mut text = paint.dim("                  0     6     12    18") + "\n";
    for (date, hours) in days {
        let blanks = hours.first().map_or(0, |(first, _)| *first as usize);
        let cells: String = hours.iter().map(|(_, hour)| cell(hour, paint)).collect();
        let name = date.strftime("%a %Y-%m-%d").to_string();
        let _ = writeln!(text, "  {name:<16}{}{cells}", " ".repeat(blanks));
    }
    let legend = "  █ complete  ▁…▇ a part of what was due  ! refused or shed  ? not yet rolled up  ○ nothing was due  · silence  - not over";
    text + &paint.dim(legend) + "\n"
}

fn cell(hour: &Hour, paint: Paint) -> String {
    let quiet = hour.received == 0 && hour.heard.readings == 0;
    match hour.share() {
        _ if hour.open => paint.dim("-"),
        _ if 0 < hour.marks => paint.warn("?"),
        Some(share) if share < 1.0 => colour(share, &level(share).to_string(), paint),
        _ if !hour.is_complete() => paint.warn("!"),
        Some(_) => paint.good("█"),
        None if quiet => paint.dim("·"),
        None => "○".to_owned(),
    }
}

fn colour(share: f64, text: &str, paint: Paint) -> String {
    if 0.9 <= share { paint.warn(text) } else { paint.bad(text) }
}

/// The hours that are not complete, and why: neighbours that are alike in one line.
fn incomplete(account: &Account, sheet: &Sheet<'_>) -> String {
    let hours: Vec<(&Hour, String)> = account.incomplete().map(|hour| (hour, reasons(hour))).collect();
    let mut alike: Vec<&[(&Hour, String)]> = hours
        .chunk_by(|(a, why_a), (b, why_b)| why_a == why_b && a.share() == b.share() && follows(b, a))
        .collect();
    let left_off = alike.len().saturating_sub(LINES_MAX);
    if 0 < left_off {
        let share = |hours: &[(&Hour, String)]| hours[0].0.share().unwrap_or(1.0);
        alike.sort_by(|a, b| share(a).total_cmp(&share(b)));
        alike.truncate(LINES_MAX);
        alike.sort_by_key(|hours| hours[0].0.hour);
    }
    let mut table = Table::new(sheet.paint, &["from", "to", ">hours", "", ">came", "because"]);
    for hours in &alike {
        let ((first, why), (last, _)) = (&hours[0], &hours[hours.len() - 1]);
        let share = first.share();
        let shown = |text: String| share.map_or_else(String::new, |share| colour(share, &text, sheet.paint));
        table.row([
            sheet.clock(first.hour),
            sheet.clock(end(last)),
            thousands(hours.len() as i64),
            shown(bar(share.unwrap_or(0.0), BAR_LETTERS)),
            shown(percent(share.unwrap_or(0.0))),
            if 1 < hours.len() { format!("each: {why}") } else { why.clone() },
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let mut text = table.text();
    if 0 < left_off {
        text += &sheet.paint.dim(&format!(
            "  and {} of which more came: --json has all\n",
            count(left_off as i64, "line", "lines")
        ));
    }
    if account.incomplete().any(|hour| 0 < hour.heard.short_series) {
        text += &sheet.paint.dim("  --series says which series are short\n");
    }
    text
}

fn end(hour: &Hour) -> Timestamp {
    hour.hour.saturating_add(1.hour()).unwrap_or(Timestamp::MAX)
}

fn follows(hour: &Hour, before: &Hour) -> bool {
    hour.hour == end(before)
}

fn reasons(hour: &Hour) -> String {
    let Hour { missing, shed, open_rejections, marks, heard, .. } = hour;
    let short = heard.short_readings();
    let some = |number: i64, text: String| (0 < number).then_some(text);
    let reasons = [
        some(*missing, count(*missing, "numbered message never came", "numbered messages never came")),
        some(
            heard.short_series,
            format!(
                "{} of {} series short by {}",
                thousands(heard.short_series),
                thousands(heard.due_series),
                count(short, "reading", "readings")
            ),
        ),
        some(*open_rejections, count(*open_rejections, "open rejection", "open rejections")),
        some(*shed, count(*shed, "message shed", "messages shed")),
        some(*marks, format!("{} not yet rolled up", count(*marks, "part of the city", "parts of the city"))),
    ];
    reasons.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// By source and epoch.
fn missing(missing: &[Gaps], sheet: &Sheet<'_>) -> String {
    let mut table = Table::new(
        sheet.paint,
        &["source", ">epoch", ">messages", ">gaps", ">first number", ">last number", "showed at"],
    );
    for gaps in missing.chunk_by(|a, b| (&a.source, a.epoch) == (&b.source, b.epoch)) {
        let sum =
            |number: fn(&Gaps) -> i64| gaps.iter().fold(0i64, |sum, gaps| sum.saturating_add(number(gaps)));
        let hours: Vec<String> = gaps.iter().take(3).map(|gaps| sheet.clock(gaps.hour)).collect();
        let more = match gaps.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and in {}", count(more as i64, "more hour", "more hours")),
        };
        table.row([
            printable(&gaps[0].source),
            gaps[0].epoch.to_string(),
            sheet.paint.bad(&thousands(sum(|gaps| gaps.messages))),
            thousands(sum(|gaps| gaps.gaps)),
            gaps.iter().map(|gaps| gaps.first_seq).min().map_or_else(String::new, thousands),
            gaps.iter().map(|gaps| gaps.last_seq).max().map_or_else(String::new, thousands),
            hours.join(", ") + &more,
        ]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}

fn rejections(account: &Account, paint: Paint) -> String {
    let mut table = Table::new(paint, &["reason", ">open", ">redriven", ">dropped"]);
    for reason in &account.rejections {
        let open = match reason.open {
            0 => number(0, paint),
            open => paint.warn(&thousands(open)),
        };
        table.row([
            reason.reason.clone(),
            open,
            number(reason.redriven, paint),
            number(reason.dropped, paint),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}

fn messages(account: &Account, paint: Paint) -> String {
    let headings =
        &["source", ">received", ">accepted", ">repeated", ">ignored", ">rejected", ">reused", ">shed"];
    by_source(account, paint, headings, |source| {
        let c = source.counts;
        vec![c.received, c.accepted, c.repeated, c.ignored, c.rejected_messages, c.reused, c.shed]
    })
}

fn readings(account: &Account, paint: Paint) -> String {
    let headings = &["source", ">decoded", ">stored", ">duplicate", ">conflict", ">rejected", ">late"];
    let table = by_source(account, paint, headings, |source| {
        let c = source.counts;
        vec![c.decoded, c.stored, c.duplicate, c.conflict, c.rejected, c.late]
    });
    match account.total.quarantined {
        0 => table,
        readings => {
            let stored = thousands(readings);
            table
                + &paint.warn(&format!(
                    "  {stored} of the stored ones came from sensors that nobody had announced\n"
                ))
                + "  screenline registry list --quarantined has those that wait\n"
        }
    }
}

/// A row a source, and their total where there are several. What was redriven came in before, so it is in no total.
fn by_source(
    account: &Account,
    paint: Paint,
    headings: &[&'static str],
    numbers: impl Fn(&Source) -> Vec<i64>,
) -> String {
    let mut table = Table::new(paint, headings);
    let mut row = |name: String, cells: Vec<i64>| {
        if cells.iter().any(|cell| *cell != 0) {
            table.row(std::iter::once(name).chain(cells.into_iter().map(|cell| number(cell, paint))));
        }
    };
    let (redriven, came): (Vec<&Source>, Vec<&Source>) =
        account.sources.iter().partition(|source| source.is_redrive());
    for source in &came {
        row(printable(&source.source), numbers(source));
    }
    if 1 < came.len() {
        let total = Source { source: String::new(), counts: account.total };
        row(paint.bold("in all"), numbers(&total));
    }
    for source in redriven {
        row(paint.dim("redriven later"), numbers(source));
    }
    if table.is_empty() { paint.dim("  nothing\n") } else { table.text() }
}

/// Nothing is there, and steps back.
fn number(number: i64, paint: Paint) -> String {
    if number == 0 { paint.dim("-") } else { thousands(number) }
}

impl Sheet<'_> {
    /// `of Friday 2026-11-20 00:00 to Saturday 2026-11-21 00:00, Europe/Paris (24 hours)`
    pub fn period_text(&self) -> String {
        let end =
            |time: Timestamp| self.city.time_zone.to_datetime(time).strftime("%A %Y-%m-%d %H:%M").to_string();
        let hours = count(self.period.hours(), "hour", "hours");
        let zone = self.city.time_zone.iana_name().unwrap_or("UTC");
        format!("from {} to {}, {zone} ({hours})", end(self.period.from), end(self.period.to))
    }

    /// An hour or a time of the period, no longer than needed to find it.
    pub fn clock(&self, time: Timestamp) -> String {
        let short = self.period.hours() <= 48;
        let time = time.to_zoned(self.city.time_zone.clone());
        let clock = time.strftime(if short { "%a %H:%M" } else { "%a %Y-%m-%d %H:%M" }).to_string();
        // When the clocks go back an hour comes twice.
        match self.city.time_zone.to_ambiguous_zoned(time.datetime()).is_ambiguous() {
            true => clock + &time.strftime(" %Z").to_string(),
            false => clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use jiff::tz::TimeZone;
    use processor::store::{City, Counts, Level, account::Refused, coverage::Heard};

    use super::*;
    use crate::period::Period;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Every hour as it should be, but for the changes; the last one is open.
    fn account_of(from: Timestamp, hours: i64, change: impl Fn(i64, &mut Hour)) -> Account {
        let heard =
            Heard { readings: 3_660, due_series: 61, expected: 3_660, observed: 3_660, short_series: 0 };
        let hour = |i: i64| {
            let mut hour = Hour {
                hour: from + i.hours(),
                received: 3_660,
                stored: 3_660,
                shed: 0,
                numbered_sources: 1,
                missing: 0,
                open_rejections: 0,
                heard,
                marks: 0,
                open: i + 1 == hours,
            };
            change(i, &mut hour);
            hour
        };
        let received = 3_660 * hours;
        let counts = Counts {
            received,
            accepted: received - 3,
            rejected_messages: 3,
            decoded: received - 3,
            stored: received - 3,
            ..Counts::default()
        };
        let redriven = Counts { received: 2, accepted: 2, decoded: 2, stored: 2, ..Counts::default() };
        let source = |name: &str, counts| Source { source: name.to_owned(), counts };
        Account {
            from,
            to: from + hours.hours(),
            total: counts,
            sources: vec![source("gate-7", counts), source("redrive", redriven)],
            problems: Vec::new(),
            missing: Vec::new(),
            rejections: Vec::new(),
            hours: (0..hours).map(hour).collect(),
        }
    }

    fn text_of(account: &Account) -> String {
        let city = City { level: Level::Plain, time_zone: TimeZone::get("Europe/Paris").unwrap() };
        let period = Period { from: account.from, to: account.to };
        super::account(account, &Sheet { city: &city, period, paint: Paint::PLAIN })
    }

    #[test]
    fn what_is_missing_is_said_first_and_seen_in_its_hour() {
        // The clocks of Paris go back in the night: the second day has 25 hours.
        let mut account = account_of(at("2026-10-24T04:00:00Z"), 44, |i, hour| match i {
            0 | 1 => {
                *hour = Hour { received: 0, numbered_sources: 0, heard: Heard::default(), ..*hour };
            }
            2 => {
                let heard = Heard { readings: 7, ..Heard::default() };
                *hour = Hour { heard, numbered_sources: 0, ..*hour };
            }
            10 => hour.missing = 9,
            15..20 => hour.heard = Heard { observed: 3_600, short_series: 1, ..hour.heard },
            20 => hour.heard = Heard { observed: 2_196, short_series: 25, ..hour.heard },
            21 => hour.open_rejections = 1,
            42 => hour.marks = 2,
            _ => {}
        });
        let showed = account.hours[10].hour;
        let gaps = |hour, gaps, messages, first_seq, last_seq| Gaps {
            source: "gate-7".to_owned(),
            epoch: 1_763_640_000,
            hour,
            gaps,
            messages,
            first_seq,
            last_seq,
        };
        account.missing = vec![gaps(showed, 2, 9, 4_101, 4_140)];
        account.rejections =
            vec![Refused { reason: "unit_mismatch".to_owned(), open: 1, redriven: 2, dropped: 0 }];
        expect![[r#"
            Account from Saturday 2026-10-24 06:00 to Monday 2026-10-26 01:00, Europe/Paris (44 hours)
            Missing: 9 numbered messages never came; 1,764 readings that were due are not there; 1 rejection is open; 9 of 43 hours are not complete.

            Hours
                              0     6     12    18
              Sat 2026-10-24        ··○███████▇████▇▇▇
              Sun 2026-10-25  ▇▇▅!████████████████████?
              Mon 2026-10-26  -
              █ complete  ▁…▇ a part of what was due  ! refused or shed  ? not yet rolled up  ○ nothing was due  · silence  - not over

            Not complete
              from            to              hours                  came  because
              Sat 16:00       Sat 17:00           1  ███████████▉  99.7 %  9 numbered messages never came
              Sat 21:00       Sun 02:00 CEST      5  ███████████▊  98.3 %  each: 1 of 61 series short by 60 readings
              Sun 02:00 CEST  Sun 02:00 CET       1  ███████▏····  60.0 %  25 of 61 series short by 1,464 readings
              Sun 02:00 CET   Sun 03:00           1  ████████████   100 %  1 open rejection
              Sun 23:00       Mon 00:00           1  ████████████   100 %  2 parts of the city not yet rolled up
              --series says which series are short

            Numbers that never came
              source       epoch  messages  gaps  first number  last number  showed at
              gate-7  1763640000         9     2         4,101        4,140  Sat 16:00

            Rejections
              reason         open  redriven  dropped
              unit_mismatch     1         2        -

            What came in, in messages
              source          received  accepted  repeated  ignored  rejected  reused  shed
              gate-7           161,040   161,037         -        -         3       -     -
              redriven later         2         2         -        -         -       -     -

            Where it went, in readings
              source          decoded   stored  duplicate  conflict  rejected  late
              gate-7          161,037  161,037          -         -         -     -
              redriven later        2        2          -         -         -     -

            The sums hold: every message and every reading is in exactly one place.
        "#]].assert_eq(&text_of(&account));
    }

    #[test]
    fn nothing_missing_and_a_sum_that_does_not_hold_are_both_said() {
        let mut account = account_of(at("2026-11-20T23:00:00Z"), 3, |_, _| {});
        assert!(text_of(&account).contains("Nothing is known to be missing."));
        assert!(text_of(&account).ends_with("is in exactly one place.\n"));
        account.problems = vec!["gate-7 at 2026-11-20T23:00:00Z: 3 messages received, but 2".to_owned()];
        assert!(
            text_of(&account).ends_with(
                "THE SUMS DO NOT HOLD: gate-7 at 2026-11-20T23:00:00Z: 3 messages received, but 2\n"
            )
        );
    }
}
