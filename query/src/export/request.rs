//! What an export is asked for by: a path, its query string, and a statement in the body.

use super::Format;
use crate::{
    engine::Statement,
    error::{QueryError, Result},
    ticket::Ticket,
};
use jiff::Timestamp;
use url::form_urlencoded;

/// Bytes of a query string that are read at all; many proxies pass less.
const QUERY_BYTES_MAX: usize = 64 << 10;
/// Sensors, metrics, segments, zones and columns together.
const NAMES_MAX: usize = 10_000;

const LISTS: [&str; 5] = ["sensor", "metric", "segment", "zone", "columns"];
const SINGLES: [&str; 7] = ["dataset", "format", "from", "to", "width", "limit", "sql"];

/// `/export/reading.csv?from=2026-01-01T00:00:00Z&sensor=a,b&sensor=c` or `/export?dataset=reading&format=csv`: the
/// filters of a ticket, under the same names. `from` is included, `to` is not. `/export/answer.csv?sql=SELECT..`: a
/// statement, and what the file is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Of the file: its dataset, or what somebody calls the answer of a statement.
    pub name: String,
    pub format: Format,
    pub statement: Statement,
}

/// Each parameter as it was given.
#[derive(Default)]
struct Given {
    singles: [Option<String>; SINGLES.len()],
    lists: [Option<Vec<String>>; LISTS.len()],
    names: usize,
}

impl Asked {
    /// `path` and `query` as they stand in the request, still percent-encoded; `body` is a statement.
    ///
    /// # Errors
    /// If they are not such a request; the message says what to write instead.
    pub fn parse(path: &str, query: Option<&str>, body: Option<String>) -> Result<Self> {
        let query = query.unwrap_or_default();
        if QUERY_BYTES_MAX < query.len() {
            return Err(invalid(format!(
                "more than {QUERY_BYTES_MAX} B of parameters; ask for fewer names, or by a ticket over Flight, and POST a long statement"
            )));
        }
        let mut given = Given::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            given.take(&name, value.into_owned())?;
        }
        let filter = given.filter();
        let Given { singles: [dataset, format, from, to, width, limit, sql], lists, .. } = given;
        let [sensor, metric, segment, zone, columns] = lists;
        let (in_path, its_format) = file(path)?;
        let format = one("format", its_format, format.map(|name| known(&name)).transpose()?)?
            .ok_or_else(|| invalid(format!("no format; there are {}", formats())))?;
        if let Some(text) = one_statement(sql, body)? {
            if let Some(name) = filter {
                return Err(invalid(format!("{name} beside a statement; say it there, in WHERE or LIMIT")));
            }
            if !Format::OF_STATEMENTS.contains(&format) {
                let formats = Format::OF_STATEMENTS.map(Format::name).join(", ");
                return Err(invalid(format!("a statement has no {}; there are {formats}", format.name())));
            }
            let name = in_path.unwrap_or_else(|| "answer".to_owned());
            return Ok(Self { name, format, statement: Statement::Sql { text, parameters: Vec::new() } });
        }
        let dataset = one("dataset", in_path, dataset)?.ok_or_else(|| {
            invalid("no dataset; ask for e.g. /export/reading.csv, and see /datasets".into())
        })?;
        let (from, to) = (instant("from", from)?, instant("to", to)?);
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(invalid(format!("from {from} is not before to {to}")));
        }
        let limit = limit
            .map(|text| {
                text.parse()
                    .map_err(|_| invalid(format!("limit {text:?} is not a number of rows, such as 1000")))
            })
            .transpose()?;
        let name = dataset.clone();
        let ticket =
            Ticket { from, to, sensor, metric, segment, zone, columns, width, limit, ..Ticket::of(&dataset) };
        Ok(Self { name, format, statement: Statement::Dataset(Box::new(ticket)) })
    }

    /// The range of time that is asked for beside a statement.
    pub fn range(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        match &self.statement {
            Statement::Dataset(ticket) => (ticket.from, ticket.to),
            Statement::Sql { .. } => (None, None),
        }
    }
}

impl Given {
    fn take(&mut self, name: &str, value: String) -> Result<()> {
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(invalid(format!("{name} is not UTF-8")));
        }
        if value.is_empty() {
            return Err(invalid(format!("{name} is empty; leave it out, or say what it is to be")));
        }
        if let Some(at) = SINGLES.iter().position(|single| *single == name) {
            if self.singles[at].replace(value).is_some() {
                return Err(invalid(format!(
                    "{name} is given twice; only {} may be repeated",
                    LISTS.join(", ")
                )));
            }
            return Ok(());
        }
        let Some(at) = LISTS.iter().position(|list| *list == name) else { return Err(unknown(name)) };
        let list = self.lists[at].get_or_insert_default();
        for part in value.split(',').map(str::trim) {
            if part.is_empty() {
                return Err(invalid(format!("{name}={value}: an empty name between commas")));
            }
            self.names += 1;
            if NAMES_MAX < self.names {
                return Err(invalid(format!("more than {NAMES_MAX} names; ask for a segment or a zone")));
            }
            list.push(part.to_owned());
        }
        Ok(())
    }

    /// A parameter that a statement has no use for.
    fn filter(&self) -> Option<&'static str> {
        let singles = SINGLES.into_iter().zip(self.singles.iter().map(Option::is_some));
        let all = singles.chain(LISTS.into_iter().zip(self.lists.iter().map(Option::is_some)));
        let mut filters = all.filter(|(name, is_given)| *is_given && !["format", "sql"].contains(name));
        filters.next().map(|(name, _)| name)
    }
}

fn one_statement(in_query: Option<String>, in_body: Option<String>) -> Result<Option<String>> {
    match (in_query, in_body) {
        (Some(_), Some(_)) => {
            Err(invalid("a statement in the body, and one in sql; send them one by one".into()))
        }
        (query, body) => Ok(query.or(body)),
    }
}

/// Name and format of the path, where it names them.
fn file(path: &str) -> Result<(Option<String>, Option<Format>)> {
    let name = path.strip_prefix("/export").unwrap_or(path).trim_matches('/');
    if name.is_empty() {
        return Ok((None, None));
    }
    match name.rsplit_once('.') {
        Some((dataset, format)) => Ok((Some(dataset.to_owned()), Some(known(format)?))),
        None => Ok((Some(name.to_owned()), None)),
    }
}

fn one<T: PartialEq>(name: &str, in_path: Option<T>, in_query: Option<T>) -> Result<Option<T>> {
    match (in_path, in_query) {
        (Some(path), Some(query)) if path != query => {
            Err(invalid(format!("the path and the parameter {name} say different things; say it once")))
        }
        (path, query) => Ok(path.or(query)),
    }
}

fn known(name: &str) -> Result<Format> {
    let name = name.to_ascii_lowercase();
    Format::named(&name)
        .ok_or_else(|| invalid(format!("no format {:?}; there are {}", short(&name), formats())))
}

fn formats() -> String {
    Format::ALL.map(Format::name).join(", ")
}

fn instant(name: &str, text: Option<String>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    // In a query string a bare plus is a space, and an offset starts with a plus.
    let offset = || text.rsplit_once(' ').map(|(time, offset)| format!("{time}+{offset}"));
    let time = text.parse().ok().or_else(|| offset()?.parse().ok());
    time.map(Some).ok_or_else(|| {
        invalid(format!(
            "{name} {:?} is not an instant; write RFC 3339 with a zone, e.g. 2026-01-01T00:00:00Z or \
             2026-01-01T01:00:00%2B01:00",
            short(&text)
        ))
    })
}

fn unknown(name: &str) -> QueryError {
    let all = || SINGLES.into_iter().chain(LISTS);
    let near = all()
        .map(|known| (strsim::damerau_levenshtein(&short(name).to_lowercase(), known), known))
        .filter(|(edits, known)| 3 * edits <= known.len().max(name.len()))
        .min();
    invalid(match near {
        Some((_, near)) => format!("no parameter {:?}; did you mean {near}?", short(name)),
        None => format!("no parameter {:?}; there are {}", short(name), all().collect::<Vec<_>>().join(", ")),
    })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn invalid(text: String) -> QueryError {
    QueryError::Invalid(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(path: &str, query: &str) -> Asked {
        Asked::parse(path, Some(query), None).unwrap()
    }

    fn ticket(asked: Asked) -> Ticket {
        match asked.statement {
            Statement::Dataset(ticket) => *ticket,
            Statement::Sql { text, .. } => panic!("a statement: {text}"),
        }
    }

    fn refused(path: &str, query: &str) -> String {
        Asked::parse(path, Some(query), None).unwrap_err().to_string()
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn all_that_can_be_asked_for() {
        let asked = asked(
            "/export/rollup_1h.parquet",
            "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00%2B01:00&sensor=a,b&sensor=c%26d&metric=traffic.flow\
             &segment=ring-4&zone=z&columns=time,sum&width=15m&limit=10",
        );
        let expected = Ticket {
            from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            to: Some("2026-01-01T23:00:00Z".parse().unwrap()),
            sensor: names(&["a", "b", "c&d"]),
            metric: names(&["traffic.flow"]),
            segment: names(&["ring-4"]),
            zone: names(&["z"]),
            columns: names(&["time", "sum"]),
            width: Some("15m".into()),
            limit: Some(10),
            ..Ticket::of("rollup_1h")
        };
        assert_eq!((asked.name.as_str(), asked.format), ("rollup_1h", Format::Parquet));
        assert_eq!(asked.range(), (expected.from, expected.to));
        assert_eq!(ticket(asked), expected);
    }

    #[test]
    fn a_statement_stands_alone() {
        let sql = |text: &str| Statement::Sql { text: text.into(), parameters: Vec::new() };
        let short = asked("/export/by-road.csv", "sql=SELECT+1,+%27a%2Bb%27");
        assert_eq!((short.name.as_str(), short.format), ("by-road", Format::Csv));
        assert_eq!(short.statement, sql("SELECT 1, 'a+b'"));
        assert_eq!(asked("/export", "format=arrow&sql=SELECT+1").name, "answer");
        let of_body = |query| Asked::parse("/export/a.parquet", query, Some("SELECT 2".into()));
        assert_eq!(of_body(None).unwrap().statement, sql("SELECT 2"));
        assert!(of_body(Some("sql=SELECT+1")).unwrap_err().to_string().contains("one by one"));
        assert!(of_body(Some("limit=1")).unwrap_err().to_string().contains("limit beside a statement"));
        for (path, query, text) in [
            ("/export/a.csv", "sql=SELECT+1&sensor=b", "sensor beside a statement"),
            ("/export/a.csv", "sql=SELECT+1&dataset=a", "dataset beside a statement"),
            ("/export/a.csv", "sql=SELECT+1&sql=SELECT+2", "sql is given twice"),
            ("/export/a.geojson", "sql=SELECT+1", "no geojson; there are csv, parquet, arrow"),
            ("/export/a.xml", "sql=SELECT+1", "no xml"),
            ("/export/a", "sql=SELECT+1", "no format"),
        ] {
            let error = refused(path, query);
            assert!(error.contains(text), "{path}?{query}: {error}");
        }
    }

    #[test]
    fn path_and_parameters_say_the_same() {
        let in_path = Asked::parse("/export/reading.csv", None, None).unwrap();
        assert_eq!(asked("/export", "dataset=reading&format=csv"), in_path);
        assert_eq!(asked("/export/", "dataset=reading&format=CSV"), in_path);
        assert_eq!(asked("/export/reading", "format=csv"), in_path);
        assert_eq!(asked("/export/reading.csv", "format=csv&dataset=reading"), in_path);
        assert!(refused("/export/reading.csv", "format=xml").contains("different things"));
    }

    #[test]
    fn a_forgotten_escape_of_plus_is_understood() {
        let bare = asked("/export/reading.csv", "from=2026-01-01T00:00:00+01:00");
        assert_eq!(ticket(bare).from, Some("2025-12-31T23:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        for (path, query, text) in [
            ("/export", "format=csv", "no dataset"),
            ("/export/reading", "", "no format; there are csv, parquet, arrow, geojson, xml"),
            ("/export/reading.xlsx", "", "no format \"xlsx\"; there are csv, parquet"),
            ("/export/reading.csv", "sensors=a", "did you mean sensor?"),
            ("/export/reading.csv", "column=a", "did you mean columns?"),
            ("/export/reading.csv", "Form=a", "did you mean from?"),
            ("/export/reading.csv", "bananas=a", "there are dataset, format, from"),
            ("/export/reading.csv", "from=yesterday", "RFC 3339 with a zone, e.g. 2026-01-01T00:00:00Z"),
            ("/export/reading.csv", "from=2026-01-01", "is not an instant"),
            (
                "/export/reading.csv",
                "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
                "from 2026-01-02T00:00:00Z is not before to 2026-01-01T00:00:00Z",
            ),
            ("/export/reading.csv", "limit=-1", "not a number of rows"),
            ("/export/reading.csv", "limit=1&limit=2", "limit is given twice"),
            ("/export/reading.csv", "sensor=", "sensor is empty"),
            ("/export/reading.csv", "sensor=a,,b", "between commas"),
            ("/export/reading.csv", "sensor=%ff", "not UTF-8"),
        ] {
            let error = refused(path, query);
            assert!(error.contains(text), "{path}?{query}: {error}");
        }
    }

    #[test]
    fn requests_are_bounded() {
        let query = format!("sensor={}", "a,".repeat(NAMES_MAX)) + "a";
        assert!(refused("/export/reading.csv", &query).contains("10000 names"));
        let query = format!("sensor={}", "a".repeat(QUERY_BYTES_MAX));
        assert!(refused("/export/reading.csv", &query).contains("65536 B"));
        let error = refused("/export/reading.csv", &format!("{}=1", "x".repeat(10_000)));
        assert!(error.len() < 300, "{error}");
    }

    proptest! {
        #[test]
        fn any_request_is_read_or_refused(path in ".{0,30}", query in "[a-z=&,%+;0-9\u{0}-\u{ff}]{0,80}") {
            let _ = Asked::parse(&path, Some(&query), None);
            let _ = Asked::parse(&path, Some(&query), Some(query.clone()));
        }

        #[test]
        fn any_name_comes_back(name in "[^,\u{fffd}]{1,20}") {
            prop_assume!(!name.trim().is_empty());
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("sensor", &name).finish();
            prop_assert_eq!(ticket(asked("/export/reading.csv", &query)).sensor, names(&[name.trim()]));
        }
    }
}
