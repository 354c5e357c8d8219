//! Which column of somebody else's file is which field of ours.

use std::collections::BTreeMap;

use super::{Table, given};

/// What each line of a file is made into: a row of one table, or of several.
#[derive(Clone, PartialEq, Debug)]
pub struct Columns {
    rows: Vec<(Table, Vec<(String, Source)>)>,
}

/// Where a field comes from.
#[derive(Clone, PartialEq, Debug)]
enum Source {
    Column(String),
    /// The same in every row.
    Value(String),
}

impl Columns {
    /// Columns named as the fields are.
    pub fn same(table: Table, names: &[&str]) -> Columns {
        let column = |name: &&str| ((*name).to_owned(), Source::Column((*name).to_owned()));
        Columns { rows: vec![(table, names.iter().map(column).collect())] }
    }

    /// From TOML: an array of tables for each table of the registry, each with `field = "COLUMN"` or
    /// `field = { value = "the same in every row" }`.
    ///
    /// ```
    /// # use processor::registry::Columns;
    /// Columns::parse(r#"
    ///     [[sensor]]
    ///     id = "DETECTOR"
    ///     lon = "X"
    ///     lat = "Y"
    ///     kind = { value = "loop" }
    ///     [[series]]
    ///     sensor = "DETECTOR"
    ///     metric = { value = "traffic.volume" }
    ///     unit = { value = "{veh}" }
    ///     kind = { value = "total" }
    /// "#)?;
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// The line of the TOML, or the field, and what is wrong there.
    pub fn parse(text: &str) -> Result<Columns, String> {
        type Rows = BTreeMap<String, Vec<BTreeMap<String, toml::Value>>>;
        let parsed: Rows = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        for (name, tables) in parsed {
            let table: Table = name.parse()?;
            for fields in tables {
                let mut sources = Vec::new();
                for (field, source) in fields {
                    let constant = |value: &toml::Value| match value {
                        toml::Value::String(text) => Some(text.clone()),
                        toml::Value::Table(_) | toml::Value::Array(_) => None,
                        other => Some(other.to_string()),
                    };
                    let source = match &source {
                        toml::Value::String(column) => Some(Source::Column(column.clone())),
                        toml::Value::Table(said) if said.len() == 1 => {
                            said.get("value").and_then(constant).map(Source::Value)
                        }
                        _ => None,
                    };
                    let source = source.ok_or_else(|| {
                        format!("{field} of {table}: a column's name, or {{ value = \"...\" }}, is due")
                    })?;
                    sources.push((field, source));
                }
                rows.push((table, sources));
            }
        }
        Columns::of(rows)
    }

    /// From `FIELD=COLUMN` pairs, all of one table.
    ///
    /// # Errors
    /// A pair is none, or names no field.
    pub fn pairs(table: Table, pairs: &[String]) -> Result<Columns, String> {
        let pair = |pair: &String| match pair.split_once('=') {
            Some((field, column)) => Ok((field.to_owned(), Source::Column(column.to_owned()))),
            None => Err(format!("{pair:?}: FIELD=COLUMN is due")),
        };
        Columns::of(vec![(table, pairs.iter().map(pair).collect::<Result<_, _>>()?)])
    }

    fn of(mut rows: Vec<(Table, Vec<(String, Source)>)>) -> Result<Columns, String> {
        rows.sort_by_key(|(table, _)| *table);
        if rows.is_empty() {
            return Err("it maps no table".to_owned());
        }
        for (table, sources) in &rows {
            for (field, _) in sources {
                if !given::is_field(*table, field) {
                    let fields: Vec<&str> = table.fields().iter().map(|field| field.name).collect();
                    return Err(format!(
                        "{field:?} is no field of a {table}; those are {}",
                        fields.join(", ")
                    ));
                }
            }
        }
        Ok(Columns { rows })
    }

    /// The tables that are made of each line.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        self.rows.iter().map(|(table, _)| *table)
    }

    /// # Errors
    /// A column that is asked for is not there, or a field is none.
    pub(super) fn check(&self, header: &[&str]) -> Result<(), String> {
        for (table, sources) in &self.rows {
            for (field, source) in sources {
                if !given::is_field(*table, field) {
                    return Err(format!("{field:?} is no field of a {table}"));
                }
                if let Source::Column(column) = source
                    && !header.contains(&column.as_str())
                {
                    return Err(format!("{field} of {table}: there is no column {column:?}"));
                }
            }
        }
        Ok(())
    }

    /// The rows of one line, by what stands in its columns. A column that is not there says nothing.
    pub(super) fn rows(
        &self,
        cell: impl Fn(&str) -> Option<String>,
    ) -> impl Iterator<Item = (Table, Vec<(&str, String)>)> {
        self.rows.iter().map(move |(table, sources)| {
            (
                *table,
                sources
                    .iter()
                    .filter_map(|(field, source)| Some((field.as_str(), source.text(&cell)?)))
                    .collect(),
            )
        })
    }
}

impl Source {
    fn text(&self, cell: impl Fn(&str) -> Option<String>) -> Option<String> {
        match self {
            Source::Column(column) => cell(column),
            Source::Value(value) => Some(value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_rows_of_several_tables() {
        let text =
            "[[sensor]]\nid = \"ID\"\nsegment = \"ID\"\nlane = { value = 1 }\n[[segment]]\nid = \"ID\"\n";
        let columns = Columns::parse(text).unwrap();
        assert!(columns.check(&["ID", "X"]).is_ok());
        assert!(columns.check(&["X"]).unwrap_err().contains("no column \"ID\""));
        let rows: Vec<_> = columns.rows(|name| (name == "ID").then(|| "7".to_owned())).collect();
        assert_eq!(rows[0], (Table::Segment, vec![("id", "7".to_owned())]));
        assert_eq!(rows[1].1.len(), 3);
        assert_eq!(columns.tables().collect::<Vec<_>>(), [Table::Segment, Table::Sensor]);
    }

    #[test]
    fn a_wrong_map_says_what_is_wrong() {
        let error = |text: &str| Columns::parse(text).unwrap_err();
        assert!(error("[[sensor]]\ncolor = \"C\"\n").contains("\"color\" is no field of a sensor"));
        assert!(error("[[street]]\nid = \"C\"\n").contains("\"street\""));
        assert!(error("[[sensor]]\nid = [1]\n").contains("id of sensor"));
        assert!(error("[[sensor]\n").contains("line 1"));
        assert!(error("").contains("no table"));
        assert!(Columns::pairs(Table::Sensor, &["id".to_owned()]).is_err());
        assert!(Columns::pairs(Table::Sensor, &["id=ID".to_owned()]).is_ok());
    }
}
