//! What people look at: tables, bars and colours.

use std::io::{self, IsTerminal};

/// Colours, where they are shown to a person who wants them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    /// Of standard output: none in a pipe, nor where `NO_COLOR` is set.
    pub fn of_stdout() -> Paint {
        Paint {
            colour: io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    #[cfg(test)]
    pub const PLAIN: Paint = Paint { colour: false };

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Rows of aligned cells below a dim heading.
#[derive(Debug)]
pub struct Table {
    paint: Paint,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
enum Column {
    Left(&'static str),
    Right(&'static str),
}

impl Table {
    /// Headings; one that begins with `>` is of numbers, which stand to the right.
    pub fn new(paint: Paint, headings: &[&'static str]) -> Table {
        let column = |heading: &&'static str| match heading.strip_prefix('>') {
            Some(heading) => Column::Right(heading),
            None => Column::Left(heading),
        };
        Table { paint, columns: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Headings, each with whether it is of numbers.
    pub fn of(paint: Paint, headings: impl Iterator<Item = (&'static str, bool)>) -> Table {
        let column =
            |(heading, numeric)| if numeric { Column::Right(heading) } else { Column::Left(heading) };
        Table { paint, columns: headings.map(column).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Two blanks before each line and between columns.
    pub fn text(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading().to_owned()).collect();
        let lines = || std::iter::once(&headings).chain(&self.rows);
        let width =
            |at: usize| lines().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for ((column, width), cell) in self.columns.iter().zip(&widths).zip(row) {
                line.push_str("  ");
                line.push_str(&column.pad(cell, *width));
            }
            line.trim_end().to_owned() + "\n"
        };
        let body: String = self.rows.iter().map(line).collect();
        let heading = line(&headings);
        self.paint.dim(heading.trim_end()) + "\n" + &body
    }
}

impl Column {
    fn heading(&self) -> &'static str {
        match self {
            Column::Left(heading) | Column::Right(heading) => heading,
        }
    }

    fn pad(&self, cell: &str, to: usize) -> String {
        let blanks = " ".repeat(to.saturating_sub(width(cell)));
        match self {
            Column::Left(_) => cell.to_owned() + &blanks,
            Column::Right(_) => blanks + cell,
        }
    }
}

/// Characters that are seen: a colour is none.
fn width(text: &str) -> usize {
    let mut seen = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => drop(letters.by_ref().find(char::is_ascii_alphabetic)),
            _ => seen += 1,
        }
    }
    seen
}

/// A share from 0 to 1 as a letter between nearly nothing and full. Full is full: what falls short by the least never
/// looks whole.
pub fn level(share: f64) -> char {
    const LEVELS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
    if 1.0 <= share { '█' } else { LEVELS[((share.max(0.0) * 7.0) as usize).min(6)] }
}

/// A share from 0 to 1 as a bar of so many letters; one that falls short is never whole.
pub fn bar(share: f64, letters: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * letters as f64 * 8.0) as usize;
    let bar = "█".repeat(eighths / 8) + PARTS[eighths % 8];
    let rest = letters - eighths.div_ceil(8);
    bar + &"·".repeat(rest)
}

/// `99.9 %`: rounded down, so that only the whole is 100 %.
pub fn percent(share: f64) -> String {
    if 1.0 <= share {
        "100 %".to_owned()
    } else {
        format!("{:.1} %", (share.max(0.0) * 1000.0).floor() / 10.0)
    }
}

/// A text of somebody else's on one line, without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

/// The first `letters` of a text, with an ellipsis where more follows.
pub fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((at, _)) => text[..at].to_owned() + "…",
        None => text.to_owned(),
    }
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

/// `1 message`, `2,000 messages`.
pub fn count(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let paint = Paint { colour: true };
        let mut table = Table::new(paint, &["source", ">messages"]);
        table.row([paint.bad("gate"), thousands(12_345)]);
        table.row(["a-long-name".to_owned(), "7".to_owned()]);
        let text = table.text();
        let seen: Vec<usize> = text.lines().map(width).collect();
        assert_eq!(seen, [23, 23, 23], "{text}");
        assert!(text.ends_with("a-long-name         7\n"), "{text}");
    }

    #[test]
    fn what_falls_short_never_looks_whole() {
        assert_eq!((level(1.0), level(0.999_999), level(0.0), level(-1.0)), ('█', '▇', '▁', '▁'));
        assert_eq!(
            (percent(1.0), percent(0.999_99), percent(0.0)),
            ("100 %".into(), "99.9 %".into(), "0.0 %".into())
        );
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.999, 4), "███▉");
        assert_eq!(bar(0.5, 4), "██··");
        assert_eq!(bar(0.0, 4), "····");
    }
}
