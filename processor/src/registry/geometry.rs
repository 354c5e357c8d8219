//! Shapes as GeoJSON (RFC 7946) writes them: longitude first, WGS 84.

use serde_json::{Value, json};

/// Far more than a street or a district needs; a row stays below some megabytes.
const POINTS_MAX: usize = 100_000;

/// A LineString of two points or more.
///
/// # Errors
/// It is none, in words.
pub fn line(text: &str) -> Result<String, String> {
    let (kind, coordinates) = shape(text)?;
    match &*kind {
        "LineString" => written(&kind, path(&coordinates, 2)?),
        other => Err(format!("{other:?} where a LineString is due")),
    }
}

/// A Polygon, or several as a MultiPolygon.
///
/// # Errors
/// It is none, in words.
pub fn area(text: &str) -> Result<String, String> {
    let (kind, coordinates) = shape(text)?;
    let shape = match &*kind {
        "Polygon" => polygon(&coordinates)?,
        "MultiPolygon" => each(&coordinates, polygon)?,
        other => return Err(format!("{other:?} where a Polygon or MultiPolygon is due")),
    };
    written(&kind, shape)
}

/// Longitude and latitude of a Point.
///
/// # Errors
/// It is none, in words.
pub fn point(geometry: &Value) -> Result<(f64, f64), String> {
    let point = position(geometry.get("coordinates").unwrap_or(&Value::Null))?;
    match (point[0].as_f64(), point[1].as_f64()) {
        (Some(lon), Some(lat)) => Ok((lon, lat)),
        _ => Err("a point is [longitude, latitude]".to_owned()),
    }
}

/// The straight line from one point to another.
pub fn straight(from: (f64, f64), to: (f64, f64)) -> String {
    json!({ "type": "LineString", "coordinates": [[from.0, from.1], [to.0, to.1]] }).to_string()
}

fn shape(text: &str) -> Result<(String, Value), String> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| format!("a geometry that is no JSON: {error}"))?;
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((kind, value.get_mut("coordinates").map_or(Value::Null, Value::take)))
}

/// Always the same text for the same shape.
fn written(kind: &str, coordinates: Value) -> Result<String, String> {
    match points(&coordinates) {
        few if few <= POINTS_MAX => Ok(json!({ "type": kind, "coordinates": coordinates }).to_string()),
        many => Err(format!("a geometry of {many} points, the limit is {POINTS_MAX}")),
    }
}

fn points(coordinates: &Value) -> usize {
    match coordinates.as_array() {
        Some(all) if all.first().is_some_and(Value::is_array) => all.iter().map(points).sum(),
        _ => 1,
    }
}

fn each(of: &Value, one: impl Fn(&Value) -> Result<Value, String>) -> Result<Value, String> {
    match of.as_array() {
        Some(all) if !all.is_empty() => all.iter().map(one).collect(),
        _ => Err("a geometry without coordinates".to_owned()),
    }
}

fn path(of: &Value, points_min: usize) -> Result<Value, String> {
    let path = each(of, position)?;
    let points = path.as_array().map_or(0, Vec::len);
    if points < points_min {
        return Err(format!("{points} of at least {points_min} points"));
    }
    Ok(path)
}

fn polygon(of: &Value) -> Result<Value, String> {
    each(of, |ring| {
        let ring = path(ring, 4)?;
        let ends = ring.as_array().map(|points| (points.first(), points.last()));
        match ends {
            Some((first, last)) if first == last => Ok(ring),
            _ => Err("a ring whose last point is not its first".to_owned()),
        }
    })
}

/// Without a height, which nobody asks for.
fn position(of: &Value) -> Result<Value, String> {
    let number = |at: usize| of.get(at).and_then(Value::as_f64).map(|number| number + 0.0);
    match (number(0), number(1)) {
        (Some(lon), Some(lat)) if lon.abs() <= 180.0 && lat.abs() <= 90.0 => Ok(json!([lon, lat])),
        (Some(lon), Some(lat)) => Err(format!("{lon}, {lat} is no longitude and latitude")),
        _ => Err("a point is [longitude, latitude]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_one_text_whatever_its_spaces_and_heights() {
        let text = r#"{ "coordinates": [[10, 56.5, 12.0], [10.25, 5.65e1]], "type": "LineString" }"#;
        let canonical = r#"{"type":"LineString","coordinates":[[10.0,56.5],[10.25,56.5]]}"#;
        assert_eq!(line(text).unwrap(), canonical);
        assert_eq!(line(canonical).unwrap(), canonical);
        let ring = "[[0,0],[1,0],[1,1],[0,0]]";
        assert!(area(&format!(r#"{{"type":"Polygon","coordinates":[{ring}]}}"#)).is_ok());
        assert!(area(&format!(r#"{{"type":"MultiPolygon","coordinates":[[{ring}]]}}"#)).is_ok());
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"type":"LineString","coordinates":[[1,2]]}"#,
            r#"{"type":"LineString","coordinates":[[1,2],[181,2]]}"#,
            r#"{"type":"LineString","coordinates":[[1,2],["x",2]]}"#,
            r#"{"type":"Point","coordinates":[1,2]}"#,
        ] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        assert!(area(r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[2,2]]]}"#).is_err());
        assert!(area(r#"{"type":"Polygon","coordinates":[]}"#).is_err());
    }
}
