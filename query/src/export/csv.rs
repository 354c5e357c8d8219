//! CSV by RFC 4180: a header, CRLF, an empty field for null and `""` for the empty text. Instants are RFC 3339 in UTC,
//! bytes are hexadecimal.
//!
//! A text that a spreadsheet would run as a formula gets an apostrophe before it. Who needs the exact text takes one
//! apostrophe away wherever one or several of them stand before `=`, `+`, `-`, `@`, their full-width forms, a tab or a
//! line break; numbers are never changed.

use super::cell::{self, Cell};
use datafusion::arrow::{array::RecordBatch, datatypes::Schema};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

pub(super) struct Csv {
    bytes: Vec<u8>,
    /// Reused for values that must be looked at as text.
    scratch: String,
}

impl Csv {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut bytes = Vec::new();
        for (nth, field) in schema.fields().iter().enumerate() {
            separate(&mut bytes, nth);
            text(&mut bytes, field.name());
        }
        bytes.extend(b"\r\n");
        Self { bytes, scratch: String::new() }
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let columns = cell::columns(batch)?;
        for row in 0..batch.num_rows() {
            for (nth, column) in columns.iter().enumerate() {
                separate(&mut self.bytes, nth);
                match column.at(row) {
                    // Readers skip an empty line.
                    Cell::Null if columns.len() == 1 => self.bytes.extend(b"\"\""),
                    Cell::Null => {}
                    Cell::Text(value) => text(&mut self.bytes, value),
                    Cell::Time(value) => write!(self.bytes, "{value}")?,
                    Cell::Bytes(value) => write!(self.bytes, "{value}")?,
                    Cell::Bool(value) => write!(self.bytes, "{value}")?,
                    // With its point, also when whole: readers that guess types look at the first rows only.
                    Cell::Float(value) => write!(self.bytes, "{value:?}")?,
                    Cell::Integer(value) => write!(self.bytes, "{value}")?,
                    Cell::Other(value) => {
                        self.scratch.clear();
                        write!(self.scratch, "{value}").map_err(io::Error::other)?;
                        text(&mut self.bytes, &self.scratch);
                    }
                }
            }
            self.bytes.extend(b"\r\n");
        }
        Ok(())
    }
}

fn separate(bytes: &mut Vec<u8>, nth: usize) {
    if 0 < nth {
        bytes.push(b',');
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let guard: &[u8] = if is_formula(text) { b"'" } else { b"" };
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        bytes.extend(guard);
        bytes.extend(text.as_bytes());
        return;
    }
    bytes.push(b'"');
    bytes.extend(guard);
    for (nth, part) in text.split('"').enumerate() {
        if 0 < nth {
            bytes.extend(b"\"\"");
        }
        bytes.extend(part.as_bytes());
    }
    bytes.push(b'"');
}

/// Also behind apostrophes, so that the guard can be taken away again and nothing else is.
fn is_formula(text: &str) -> bool {
    // https://owasp.org/www-community/attacks/CSV_Injection
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use datafusion::arrow::{
        array::{Array, ArrayRef, AsArray, StringArray},
        csv::ReaderBuilder,
        datatypes::SchemaRef,
    };
    use expect_test::expect;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn written(batch: &RecordBatch) -> String {
        let mut csv = Csv::new(&batch.schema());
        csv.batch(batch).unwrap();
        String::from_utf8(csv.bytes).unwrap()
    }

    fn read(text: &str, schema: SchemaRef) -> RecordBatch {
        let reader = ReaderBuilder::new(schema).with_header(true).build(text.as_bytes()).unwrap();
        reader.map(Result::unwrap).next().unwrap()
    }

    fn of_texts(texts: Vec<Option<&str>>) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        RecordBatch::try_from_iter_with_nullable([("text", texts.clone(), true), ("again", texts, true)])
            .unwrap()
    }

    #[test]
    fn three_rows() {
        expect![[r#"
            time,sensor,metric,value,unit,quality,received_at
            2026-11-22T11:59:00Z,loop-17,traffic.flow,1260.0,{veh}/h,0,2026-11-22T11:59:01.250Z
            2026-11-22T11:59:00Z,loop-17,traffic.speed.mean,88.5,km/h,0,2026-11-22T11:59:01.250001Z
            2026-11-22T12:00:00Z,"a ""b"", c",water.level,,m,128,
        "#]]
        .assert_eq(&written(&sample::readings()).replace("\r\n", "\n"));
    }

    #[test]
    fn every_type_is_written() {
        expect![[r#"
            time,text,bytes,yes,float,int,list
            1970-01-01T00:00:00.000001Z,"",00ff,true,NaN,-7,[1]
            ,,,,,,
        "#]]
        .assert_eq(&written(&sample::all_types()).replace("\r\n", "\n"));
    }

    #[test]
    fn it_is_read_back() {
        let batch = sample::readings();
        assert_eq!(read(&written(&batch), batch.schema()), batch);
    }

    #[test]
    fn a_spreadsheet_runs_nothing() {
        let cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''@x"];
        for cell in cells {
            let line = written(&of_texts(vec![Some(cell)]));
            let (_, cell) = line.split_once("\r\n").unwrap();
            assert!(cell.trim_start_matches('"').starts_with('\''), "{cell:?}");
        }
        for cell in ["a=b", "'quoted'", "1-2", " "] {
            assert!(written(&of_texts(vec![Some(cell)])).contains(&format!("\r\n{cell},{cell}\r\n")));
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[='\"+@,\r\n\ta-zäß＝\u{0}-]{0,6}") {
            let batch = of_texts(vec![Some(text.as_str()), None]);
            let back = read(&written(&batch), batch.schema());
            let column = back.column(1).as_string::<i32>();
            let cell = if column.is_null(0) { "" } else { column.value(0) };
            let cell = if is_formula(cell) { cell.strip_prefix('\'').unwrap() } else { cell };
            prop_assert_eq!(cell, text);
            prop_assert!(column.is_null(1));
        }
    }
}
