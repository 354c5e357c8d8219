//! GeoJSON, read and written.

use serde_json::{Map, Value, json};

use super::{
    Columns, File, Given, Place, Table, geometry,
    given::{self, Wrong, cell},
};

/// Rows of a FeatureCollection: properties are columns, the shape is where the row is.
pub(super) fn read(
    file: &File,
    text: &str,
    at: &impl Fn(u64) -> Place,
    rows: &mut Vec<Given>,
) -> Result<(), Wrong> {
    let collection: Value = serde_json::from_str(text)
        .map_err(|error| at((error.line() as u64).max(1)).wrong(format!("no JSON: {error}")))?;
    let (Some("FeatureCollection"), Some(features)) = (
        collection.get("type").and_then(Value::as_str),
        collection.get("features").and_then(Value::as_array),
    ) else {
        return Err(at(1).wrong("JSON that is no FeatureCollection"));
    };
    let lines = lines(text);
    let place = |i: usize| at(lines.get(i).copied().unwrap_or(1));
    let table = match file.columns {
        Some(_) => None,
        None => match file.table {
            Some(table) => Some(table),
            None => Some(told_by(features).map_err(|(i, wrong)| place(i).wrong(wrong))?),
        },
    };
    for (i, feature) in features.iter().enumerate() {
        let wrong = |message: String| place(i).wrong(message);
        let mut properties = match feature.get("properties") {
            Some(Value::Object(properties)) => properties.clone(),
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(wrong("properties that are no object".to_owned())),
        };
        if let Some(id @ (Value::String(_) | Value::Number(_))) = feature.get("id")
            && !properties.contains_key("id")
        {
            properties.insert("id".to_owned(), id.clone());
        }
        let columns = match (&file.columns, table) {
            (Some(columns), _) => columns.clone(),
            (None, table) => {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                let columns = Columns::same(table.unwrap_or(Table::Sensor), &names);
                columns.check(&names).map_err(wrong)?;
                columns
            }
        };
        for (table, mut texts) in columns.rows(|name| properties.get(name).map(cell)) {
            texts.extend(
                shape(table, feature.get("geometry")).map_err(|said| wrong(format!("geometry: {said}")))?,
            );
            rows.push(given::row(table, &place(i), &texts).map_err(wrong)?);
        }
    }
    Ok(())
}

/// The fields that say where a row is.
fn shape(table: Table, geometry: Option<&Value>) -> Result<Vec<(&'static str, String)>, String> {
    let Some(geometry) = geometry.filter(|geometry| !geometry.is_null()) else { return Ok(Vec::new()) };
    Ok(match table {
        Table::Sensor => {
            let (lon, lat) = geometry::point(geometry)?;
            vec![("lon", lon.to_string()), ("lat", lat.to_string())]
        }
        Table::Segment | Table::Zone => vec![("geometry", geometry.to_string())],
        Table::Series | Table::Calibration => Vec::new(),
    })
}

/// What all shapes say; where there are none, the properties of the first feature.
fn told_by(features: &[Value]) -> Result<Table, (usize, String)> {
    let mut told = None;
    for (i, feature) in features.iter().enumerate() {
        let kind = feature.get("geometry").and_then(|geometry| geometry.get("type")).and_then(Value::as_str);
        let table = match kind {
            None => continue,
            Some("Point") => Table::Sensor,
            Some("LineString") => Table::Segment,
            Some("Polygon" | "MultiPolygon") => Table::Zone,
            Some(other) => {
                let known =
                    "Point for a sensor, LineString for a segment, Polygon or MultiPolygon for a zone";
                return Err((i, format!("a {other}; known are {known}")));
            }
        };
        if *told.get_or_insert(table) != table {
            return Err((
                i,
                format!("a {table} after others that are none: give each table a file of its own"),
            ));
        }
    }
    match (told, features.first()) {
        (Some(table), _) => Ok(table),
        (None, None) => Err((0, "no features: say what it holds with --as".to_owned())),
        (None, Some(first)) => {
            let properties = first.get("properties").and_then(Value::as_object);
            let names: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            given::told_by(&names).map_err(|wrong| (0, wrong))
        }
    }
}

/// The line on which each feature begins, in a text that is known to be JSON.
fn lines(text: &str) -> Vec<u64> {
    let (mut lines, mut line, mut depth) = (Vec::new(), 1, 0);
    let (mut string_from, mut escaped) = (None, false);
    let (mut last_string, mut inside) = ("", false);
    for (at, byte) in text.bytes().enumerate() {
        line += u64::from(byte == b'\n');
        if let Some(from) = string_from {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => (last_string, string_from) = (&text[from..at], None),
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => string_from = Some(at + 1),
            b'{' | b'[' => {
                if depth == 1 && byte == b'[' && last_string == "features" {
                    (inside, lines) = (true, Vec::new());
                } else if depth == 2 && inside {
                    lines.push(line);
                }
                depth += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                inside &= 1 < depth;
            }
            _ => {}
        }
    }
    lines
}

/// Rows as a FeatureCollection, a feature a line; each row by the order of its table's fields.
pub fn write(table: Table, rows: &[Vec<Option<String>>]) -> String {
    let feature = |row: &Vec<Option<String>>| {
        let field = |name: &str| table.position(name).and_then(|at| row[at].clone());
        let number = |name: &str| field(name).and_then(|text| text.parse::<f64>().ok());
        let (geometry, apart): (Value, &[&str]) = match table {
            Table::Sensor => match (number("lon"), number("lat")) {
                (Some(lon), Some(lat)) => {
                    (json!({ "type": "Point", "coordinates": [lon, lat] }), &["lon", "lat"])
                }
                _ => (Value::Null, &["lon", "lat"]),
            },
            _ => {
                let shape = field("geometry").and_then(|text| serde_json::from_str(&text).ok());
                (shape.unwrap_or(Value::Null), &["geometry"])
            }
        };
        let said = table.fields().iter().zip(row).filter(|(field, _)| !apart.contains(&field.name));
        let properties: Map<String, Value> =
            said.map(|(field, cell)| (field.name.to_owned(), json!(cell))).collect();
        json!({ "type": "Feature", "geometry": geometry, "properties": properties }).to_string()
    };
    let features: Vec<String> = rows.iter().map(feature).collect();
    format!("{{\"type\":\"FeatureCollection\",\"features\":[\n{}\n]}}\n", features.join(",\n"))
}
