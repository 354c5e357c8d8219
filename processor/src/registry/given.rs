//! Files become rows: CSV with a header, or a FeatureCollection of GeoJSON. Pure: a wrong line is named, nothing is
//! guessed.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{Columns, Form, Table, features, geometry, table::Field};

/// A file to be taken in.
#[derive(Clone, Debug)]
pub struct File {
    /// As errors name it.
    pub name: String,
    pub text: String,
    /// What it holds; absent: what its columns or shapes say.
    pub table: Option<Table>,
    /// Which of its columns is which field; absent: they are named as the fields are.
    pub columns: Option<Columns>,
}

impl File {
    /// A file whose columns are named as the fields are, and tell what it holds.
    pub fn new(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned(), table: None, columns: None }
    }
}

/// A line of a file, or what else gave a row: then its line is 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u64,
}

/// A row as a file gives it.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    pub table: Table,
    pub place: Place,
    /// By field, canonical: `None` where nothing is said of it, so that what is known stays.
    pub cells: Vec<Option<Option<String>>>,
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Wrong {
    pub place: Place,
    pub message: String,
}

/// A hundred thousand segments as GeoJSON are 40 MB; each byte is held about five times while it is read.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Rows of one import: each is held three times, at up to a kilobyte. A larger city comes in parts.
pub const ROWS_MAX: usize = 200_000;

/// The ends of a segment, where its line is not given.
const ENDS: [&str; 4] = ["from_lon", "from_lat", "to_lon", "to_lat"];

/// The rows of some files, in their order.
///
/// # Errors
/// The first line that is wrong.
pub fn read(files: &[File]) -> Result<Vec<Given>, Wrong> {
    let mut rows = Vec::new();
    for file in files {
        let name: Arc<str> = file.name.as_str().into();
        let at = |line| Place { file: name.clone(), line };
        if FILE_BYTES_MAX < file.text.len() {
            let message = format!("{} bytes, the limit is {FILE_BYTES_MAX}: split it", file.text.len());
            return Err(at(1).wrong(message));
        }
        let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
        match text.trim_start().starts_with('{') {
            true => features::read(file, text, &at, &mut rows)?,
            false => csv(file, text, &at, &mut rows)?,
        }
        if let Some(row) = rows.get(ROWS_MAX) {
            return Err(row.place.clone().wrong(format!("more than {ROWS_MAX} rows: split them")));
        }
    }
    Ok(rows)
}

impl Given {
    /// A row that stands in no file, by the names of its fields.
    ///
    /// # Errors
    /// A field cannot hold its text.
    pub fn of(table: Table, origin: &str, texts: &[(&str, String)]) -> Result<Given, Wrong> {
        let place = Place { file: origin.into(), line: 0 };
        row(table, &place, texts).map_err(|message| place.wrong(message))
    }
}

impl Place {
    pub fn wrong(self, message: impl Into<String>) -> Wrong {
        Wrong { place: self, message: message.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{} line {line}", self.file),
        }
    }
}

fn csv(file: &File, text: &str, at: &impl Fn(u64) -> Place, rows: &mut Vec<Given>) -> Result<(), Wrong> {
    let unread = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} cells where the header has {expected_len}")
            }
            _ => error.to_string(),
        };
        at(line).wrong(message)
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let header = reader.headers().map_err(unread)?.clone();
    let header: Vec<&str> = header.iter().collect();
    if header.iter().all(|name| name.is_empty()) {
        return Err(at(1).wrong("no header: the first line names the columns"));
    }
    if let Some(twice) = header.iter().enumerate().find(|(i, name)| header[..*i].contains(name)) {
        return Err(at(1).wrong(format!("two columns are named {:?}", twice.1)));
    }
    let columns = match &file.columns {
        Some(columns) => columns.clone(),
        None => {
            let table =
                file.table.map_or_else(|| told_by(&header), Ok).map_err(|wrong| at(1).wrong(wrong))?;
            Columns::same(table, &header)
        }
    };
    columns.check(&header).map_err(|wrong| at(1).wrong(wrong))?;
    for record in reader.records() {
        let record = record.map_err(unread)?;
        let place = at(record.position().map_or(1, csv::Position::line));
        let cell = |name: &str| header.iter().position(|column| *column == name).and_then(|i| record.get(i));
        for (table, cells) in columns.rows(|name| cell(name).map(str::to_owned)) {
            rows.push(row(table, &place, &cells).map_err(|message| place.clone().wrong(message))?);
        }
    }
    Ok(())
}

/// The one table that has all these columns, and none of whose own is missing.
pub(super) fn told_by(names: &[&str]) -> Result<Table, String> {
    let known = |table: Table, name: &str| is_field(table, name);
    let owns = |table: Table| {
        let needed = |field: &&Field| field.required && table.default(field.name).is_none();
        names.iter().all(|name| known(table, name))
            && table.fields().iter().filter(needed).all(|field| names.contains(&field.name))
    };
    let fitting: Vec<Table> = Table::ALL.into_iter().filter(|table| owns(*table)).collect();
    match fitting[..] {
        [one] => Ok(one),
        [] => Err(format!(
            "the columns {} are those of no table: say what it holds with --as, or which column is which field with --columns or --map",
            names.join(", ")
        )),
        _ => {
            let fitting: Vec<&str> = fitting.into_iter().map(Table::plural).collect();
            Err(format!("it may hold {}: say which with --as", fitting.join(" or ")))
        }
    }
}

/// Whether a table has a field of this name, the ends of a segment included.
pub(super) fn is_field(table: Table, name: &str) -> bool {
    table.position(name).is_some() || table == Table::Segment && ENDS.contains(&name)
}

/// A row of texts, by the names of fields.
///
/// # Errors
/// The field and what is wrong with it.
pub(super) fn row(table: Table, place: &Place, texts: &[(&str, String)]) -> Result<Given, String> {
    let mut cells = vec![None; table.fields().len()];
    let mut ends = [None; 4];
    for (name, text) in texts {
        let named = |wrong: String| format!("{name}: {wrong}");
        match table.position(name) {
            Some(at) => cells[at] = Some(table.fields()[at].form.read(text).map_err(named)?),
            None => {
                let limit = if name.ends_with("lon") { 180.0 } else { 90.0 };
                let end = Form::Number(-limit, limit).read(text).map_err(named)?;
                let at =
                    ENDS.iter().position(|end| end == name).ok_or_else(|| named("no such field".into()))?;
                ends[at] = end.and_then(|number| number.parse::<f64>().ok());
            }
        }
    }
    if let [Some(from_lon), Some(from_lat), Some(to_lon), Some(to_lat)] = ends {
        let line = geometry::straight((from_lon, from_lat), (to_lon, to_lat));
        if let Some(at) = table.position("geometry") {
            cells[at] = Some(Form::Line.read(&line)?);
        }
    } else if ends.iter().any(Option::is_some) {
        return Err(format!("a line has two ends: {} go together", ENDS.join(", ")));
    }
    for name in table.key() {
        let at = table.position(name).unwrap_or_default();
        if table.fields()[at].required && !matches!(cells[at], Some(Some(_))) {
            return Err(format!("{name}: a {table} without it is none"));
        }
    }
    Ok(Given { table, place: place.clone(), cells })
}

/// A value of JSON as a cell would have it.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERIES: &str = "sensor,metric,unit,kind,interval_s,modulus,resolution,min,max,max_rate,max_gap_s\n\
        WM-101,water.volume.total,m3,counter,,99999.999,0.001,,,,7200\n\
        d1,traffic.speed.mean,km/h,rate,60,,,0,200,,\n";
    const SEGMENTS: &str = r#"{
        "type": "FeatureCollection",
        "features": [
            {"type":"Feature","geometry":{"type":"LineString","coordinates":[[10,56],[10.1,56]]},"properties":{"id":"s1","lanes":2}},
            {"type":"Feature","id":"s2","geometry":{"type":"LineString","coordinates":[[10,56],[10.1,56]]},"properties":{"name":"{[\"features\":"}}
        ]
    }"#;

    fn file(text: &str) -> File {
        File { name: "rows".into(), text: text.into(), table: None, columns: None }
    }

    fn rows(text: &str) -> Result<Vec<Given>, Wrong> {
        read(&[file(text)])
    }

    fn error(text: &str) -> String {
        rows(text).map(|rows| rows.len()).unwrap_err().to_string()
    }

    /// Whatever comes is rows that could be written and read again, or is refused with its place.
    fn check(text: &str) -> Result<(), TestCaseError> {
        match rows(text) {
            Ok(rows) => {
                for row in rows {
                    for (field, cell) in row.table.fields().iter().zip(&row.cells) {
                        if let Some(Some(cell)) = cell {
                            prop_assert_eq!(field.form.read(cell), Ok(Some(cell.clone())));
                        }
                    }
                }
            }
            Err(wrong) => {
                prop_assert!(wrong.to_string().starts_with("rows line "), "{}", wrong);
                prop_assert!(wrong.place.line <= text.lines().count() as u64 + 1, "{}", wrong);
            }
        }
        Ok(())
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let series = rows(SERIES).unwrap();
        assert_eq!((series.len(), series[1].table, series[1].place.line), (2, Table::Series, 3));
        let at = Table::Series.position("interval_s").unwrap();
        assert_eq!((&series[0].cells[at], &series[1].cells[at]), (&Some(None), &Some(Some("60".into()))));
        assert_eq!(rows("lat,id,lon\n48.1,a,11\n").unwrap()[0].table, Table::Sensor);
        let segment = &rows("id,from_lon,from_lat,to_lon,to_lat\ns,1,2,3,4\n").unwrap()[0];
        let line = r#"{"type":"LineString","coordinates":[[1.0,2.0],[3.0,4.0]]}"#;
        assert_eq!(segment.cells.last(), Some(&Some(Some(line.to_owned()))));
    }

    #[test]
    fn features_are_read_by_their_shape_and_named_by_their_line() {
        let segments = rows(SEGMENTS).unwrap();
        assert_eq!(segments.len(), 2);
        assert!(segments.iter().all(|row| row.table == Table::Segment));
        assert_eq!((segments[0].place.line, segments[1].place.line), (4, 5));
        assert_eq!(segments[1].cells[0], Some(Some("s2".to_owned())));
        let wrong =
            SEGMENTS.replace("[10.1,56]]},\"properties\":{\"name", "[10.1,156]]},\"properties\":{\"name");
        assert!(error(&wrong).starts_with("rows line 5: geometry: "), "{}", error(&wrong));
        assert!(error(&SEGMENTS[..150]).starts_with("rows line 4: "));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(
            error("sensor,metric,unit,kind\na,m,1,gauge\na b,m,1,gauge\n")
                .starts_with("rows line 3: sensor: \"a b\"")
        );
        assert!(error("sensor,metric,unit,kind\na,m,1\n").starts_with("rows line 2: 3 cells"));
        assert!(error("id,color\na,red\n").starts_with("rows line 1: the columns id, color"));
        assert!(error("id,name\na,b\n").contains("zones or segments or sensors: say which"));
        assert!(error("id,lon,lat\na,1,91\n").starts_with("rows line 2: lat: 91"));
        assert!(error("").contains("no header"));
    }

    proptest! {
        #[test]
        fn any_text_is_rows_or_refused(text in any::<String>(), table in "[a-c,\"\r\n;]{0,60}") {
            check(&text)?;
            check(&table)?;
            check(&format!("id,lat,lon\n{table}"))?;
        }

        #[test]
        fn spoiled_rows_are_rows_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), to in any::<prop::sample::Index>()) {
            for whole in [SERIES, SEGMENTS] {
                let mut bytes = whole.as_bytes().to_vec();
                *at.get_mut(&mut bytes) = byte;
                check(&String::from_utf8_lossy(&bytes))?;
                check(&whole[..to.index(whole.len())])?;
            }
        }
    }
}
