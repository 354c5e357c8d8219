//! Delimited text (RFC 4180) as a list of objects, one a line, by the names of the columns. An empty cell is null.

use std::borrow::Cow;

use super::{Json, text};
use crate::{
    mapping::CsvRules,
    model::{Reason, reason::Refusal},
};

/// More columns than any feed has: a line of commas must not become a million cells.
const COLUMNS_MAX: usize = 1_000;

pub(super) fn parse<'a>(payload: &'a [u8], rules: &CsvRules) -> Result<Json<'a>, Refusal> {
    let text = text(payload)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(rules.delimiter)
        .comment(rules.comment)
        .has_headers(rules.columns.is_none())
        .flexible(rules.columns.is_some())
        .from_reader(text.as_bytes());
    let malformed = |error: csv::Error| Refusal::new(Reason::Malformed, error.to_string());
    let columns: Vec<String> = match &rules.columns {
        Some(columns) => columns.clone(),
        None => reader.headers().map_err(malformed)?.iter().map(|name| name.trim().to_owned()).collect(),
    };
    if COLUMNS_MAX < columns.len() {
        let detail = format!("{} columns, the limit is {COLUMNS_MAX}", columns.len());
        return Err(Refusal::new(Reason::Malformed, detail));
    }
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(malformed)? {
        let cell = |cell: &str| match cell.trim() {
            "" => Json::Null,
            cell => Json::Text(Cow::Owned(cell.to_owned())),
        };
        let cells = columns.iter().zip(&record).map(|(name, value)| (Cow::Owned(name.clone()), cell(value)));
        lines.push(Json::Object(cells.collect()));
    }
    Ok(Json::Array(lines))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(columns: Option<&[&str]>) -> CsvRules {
        let columns = columns.map(|columns| columns.iter().map(|name| (*name).to_owned()).collect());
        CsvRules { delimiter: b',', columns, comment: None }
    }

    fn check(text: &str, rules: &CsvRules, json: &str) {
        assert_eq!(parse(text.as_bytes(), rules).unwrap(), Json::parse(json.as_bytes()).unwrap());
    }

    #[test]
    fn lines_are_objects_and_an_empty_cell_is_nothing() {
        check(
            "\u{feff}id, flow\n\"a,b\",\n7,12\n",
            &rules(None),
            r#"[{"id":"a,b","flow":null},{"id":"7","flow":"12"}]"#,
        );
        check("x,1\ny,2,3\n", &rules(Some(&["n", "v"])), r#"[{"n":"x","v":"1"},{"n":"y","v":"2"}]"#);
        assert_eq!(parse(b"a,b\n1\n", &rules(None)).unwrap_err().reason, Reason::Malformed);
        assert_eq!(parse(&b",".repeat(200_000), &rules(None)).unwrap_err().reason, Reason::Malformed);
    }

    proptest! {
        #[test]
        fn any_text_is_lines_or_refused(text in "[a-c,\"\r\n; ]{0,80}") {
            let _ = parse(text.as_bytes(), &rules(None));
        }
    }
}
