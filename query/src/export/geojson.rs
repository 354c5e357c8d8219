//! GeoJSON by RFC 7946: a FeatureCollection with a feature a row. Geometry is the column `geometry`, else a point of
//! `lon` and `lat`, else the sensor's; the other columns are properties. What JSON cannot say, NaN and infinity, is null.

use super::{
    Context,
    cell::{self, Cell, Column},
};
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

pub(super) struct GeoJson {
    bytes: Vec<u8>,
    place: Place,
    /// Columns that are properties, with their names as JSON.
    properties: Vec<(usize, String)>,
    any: bool,
}

/// Where the rows say that they are.
enum Place {
    Text { geometry: usize },
    Point { lon: usize, lat: usize },
    Sensor { sensor: usize, geometry: Arc<HashMap<String, Value>> },
    Nowhere,
}

const GEOMETRIES: [&str; 7] =
    ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"];

impl GeoJson {
    pub(super) fn new(schema: &Schema, context: &Context) -> Self {
        let place = Place::of(schema, context);
        let names = schema.fields().iter().enumerate().filter(|(nth, _)| !place.is_of(*nth));
        Self {
            bytes: b"{\"type\":\"FeatureCollection\",\"features\":[".to_vec(),
            properties: names
                .map(|(nth, field)| (nth, Value::from(field.name().as_str()).to_string()))
                .collect(),
            place,
            any: false,
        }
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let columns = cell::columns(batch)?;
        let out = &mut self.bytes;
        for row in 0..batch.num_rows() {
            out.extend(if self.any { b",\n".as_slice() } else { b"\n" });
            self.any = true;
            out.extend(b"{\"type\":\"Feature\",\"geometry\":");
            self.place.write(out, &columns, row)?;
            out.extend(b",\"properties\":{");
            for (nth, (at, name)) in self.properties.iter().enumerate() {
                let comma = if nth == 0 { "" } else { "," };
                write!(out, "{comma}{name}:")?;
                value(out, columns[*at].at(row))?;
            }
            out.extend(b"}}");
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.bytes.extend(b"\n]}\n");
        Ok(())
    }
}

impl Place {
    fn of(schema: &Schema, context: &Context) -> Self {
        let find = |name: &str, fits: fn(&DataType) -> bool| {
            let (at, field) = schema.column_with_name(name)?;
            fits(field.data_type()).then_some(at)
        };
        let is_text = |kind: &DataType| *kind == DataType::Utf8;
        if let Some(geometry) = find("geometry", is_text) {
            return Self::Text { geometry };
        }
        if let (Some(lon), Some(lat)) =
            (find("lon", DataType::is_floating), find("lat", DataType::is_floating))
        {
            return Self::Point { lon, lat };
        }
        match (find("sensor", is_text), &context.geometry) {
            (Some(sensor), Some(geometry)) => Self::Sensor { sensor, geometry: geometry.clone() },
            _ => Self::Nowhere,
        }
    }

    /// Whether the column is geometry and therefore no property.
    fn is_of(&self, column: usize) -> bool {
        match self {
            Self::Text { geometry } => column == *geometry,
            Self::Point { lon, lat } => column == *lon || column == *lat,
            Self::Sensor { .. } | Self::Nowhere => false,
        }
    }

    fn write(&self, out: &mut Vec<u8>, columns: &[Column<'_>], row: usize) -> io::Result<()> {
        match self {
            Self::Text { geometry } => {
                // As it is stored: read and written again, its numbers could change.
                if let Cell::Text(text) = columns[*geometry].at(row)
                    && is_geometry(text)
                {
                    return out.write_all(text.trim().as_bytes());
                }
            }
            Self::Point { lon, lat } => {
                if let (Cell::Float(lon), Cell::Float(lat)) = (columns[*lon].at(row), columns[*lat].at(row))
                    && (-180.0 <= lon && lon <= 180.0)
                    && (-90.0 <= lat && lat <= 90.0)
                {
                    return write!(out, "{{\"type\":\"Point\",\"coordinates\":[{lon},{lat}]}}");
                }
            }
            Self::Sensor { sensor, geometry } => {
                if let Cell::Text(sensor) = columns[*sensor].at(row)
                    && let Some(geometry) = geometry.get(sensor)
                {
                    return Ok(serde_json::to_writer(out, geometry)?);
                }
            }
            Self::Nowhere => {}
        }
        out.write_all(b"null")
    }
}

fn is_geometry(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.get("type").and_then(Value::as_str).is_some_and(|kind| GEOMETRIES.contains(&kind))
}

fn value(out: &mut Vec<u8>, cell: Cell<'_>) -> io::Result<()> {
    match cell {
        Cell::Null => out.write_all(b"null"),
        Cell::Text(text) => Ok(serde_json::to_writer(out, text)?),
        Cell::Time(time) => write!(out, "\"{time}\""),
        Cell::Bytes(bytes) => write!(out, "\"{bytes}\""),
        Cell::Bool(yes) => write!(out, "{yes}"),
        // NaN and infinity become null.
        Cell::Float(number) => Ok(serde_json::to_writer(out, &number)?),
        Cell::Integer(number) => write!(out, "{number}"),
        Cell::Other(other) => Ok(serde_json::to_writer(out, &other.to_string())?),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use datafusion::arrow::array::{Float64Array, StringArray};
    use expect_test::expect;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(batch: &RecordBatch, context: &Context) -> String {
        let mut geojson = GeoJson::new(&batch.schema(), context);
        geojson.batch(batch).unwrap();
        geojson.finish().unwrap();
        String::from_utf8(geojson.bytes).unwrap()
    }

    fn features(batch: &RecordBatch, context: &Context) -> Vec<Value> {
        let collection: Value = serde_json::from_str(&written(batch, context)).unwrap();
        assert_eq!(collection["type"], "FeatureCollection");
        let features = collection["features"].as_array().unwrap().clone();
        assert!(features.iter().all(|feature| feature["type"] == "Feature"));
        features
    }

    #[test]
    fn three_rows() {
        let point = json!({"type": "Point", "coordinates": [4.9, 52.37]});
        let geometry = Some(Arc::new(HashMap::from([("loop-17".to_owned(), point)])));
        let batch = sample::readings().project(&[0, 1, 3]).unwrap();
        expect![[r#"
            {"type":"FeatureCollection","features":[
            {"type":"Feature","geometry":{"type":"Point","coordinates":[4.9,52.37]},"properties":{"time":"2026-11-22T11:59:00Z","sensor":"loop-17","value":1260.0}},
            {"type":"Feature","geometry":{"type":"Point","coordinates":[4.9,52.37]},"properties":{"time":"2026-11-22T11:59:00Z","sensor":"loop-17","value":88.5}},
            {"type":"Feature","geometry":null,"properties":{"time":"2026-11-22T12:00:00Z","sensor":"a \"b\", c","value":null}}
            ]}
        "#]]
        .assert_eq(&written(&batch, &Context { geometry, ..Context::default() }));
    }

    #[test]
    fn every_type_is_a_property() {
        let properties =
            |row: usize| features(&sample::all_types(), &Context::default())[row]["properties"].clone();
        let expected = json!({
            "time": "1970-01-01T00:00:00.000001Z", "text": "", "bytes": "00ff", "yes": true, "float": null,
            "int": -7, "list": "[1]",
        });
        assert_eq!(properties(0), expected);
        assert!(properties(1).as_object().unwrap().values().all(Value::is_null));
    }

    #[test]
    fn a_point_is_lon_then_lat_and_only_on_earth() {
        let numbers = |numbers: [f64; 4]| Arc::new(Float64Array::from(numbers.to_vec()));
        let batch = sample::of(vec![
            ("lat", numbers([52.37, 91.0, f64::NAN, -33.0])),
            ("lon", numbers([4.9, 0.0, 0.0, f64::INFINITY])),
        ]);
        let features = features(&batch, &Context::default());
        assert_eq!(features[0]["geometry"], json!({"type": "Point", "coordinates": [4.9, 52.37]}));
        assert!(features[1..].iter().all(|feature| feature["geometry"].is_null()));
        assert_eq!(features[0]["properties"], json!({}));
    }

    #[test]
    fn a_geometry_in_text_is_kept_and_anything_else_is_null() {
        let line = r#" {"type": "LineString", "coordinates": [[4.90, 52.37], [4.91, 52.38]]} "#;
        let texts = [line, "{", "7", r#"{"type": "Feature"}"#, ""];
        let batch = sample::of(vec![("geometry", sample::texts(&texts)), ("id", sample::texts(&texts))]);
        assert!(written(&batch, &Context::default()).contains(line.trim()));
        let features = features(&batch, &Context::default());
        assert_eq!(features[0]["geometry"]["coordinates"], json!([[4.9, 52.37], [4.91, 52.38]]));
        assert!(features[1..].iter().all(|feature| feature["geometry"].is_null()));
        assert_eq!(features[0]["properties"], json!({"id": line}));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(name in any::<String>(), text in any::<String>()) {
            let batch = sample::of(vec![(name.as_str(), Arc::new(StringArray::from(vec![text.as_str()])))]);
            let features = features(&batch, &Context::default());
            if name != "geometry" {
                prop_assert_eq!(&features[0]["properties"][&name], &Value::from(text));
            }
        }
    }
}
