//! What is served over HTTP, as OpenAPI 3.1.

use crate::{export::Format, problem::Kind as ProblemKind, tables::Kind, ticket::TEXT_BYTES_MAX};
use serde_json::{Map, Value, json};

/// A dataset, for people and for clients that are generated.
#[derive(Clone, Debug)]
pub struct DatasetDoc {
    pub name: String,
    pub about: String,
    pub columns: Vec<ColumnDoc>,
    /// The parameters that cut it: `from`, `to`, `sensor` ..
    pub filters: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct ColumnDoc {
    pub name: String,
    pub kind: Kind,
    /// In UCUM, where all values have the same.
    pub unit: Option<String>,
    pub comment: Option<String>,
}

/// The document; `server` is the address that clients reach the service by, where it is known.
pub fn document(datasets: &[DatasetDoc], server: Option<&str>, version: &str) -> Value {
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Screenline",
            "description": "A city's telemetry as files. The same data is served by Arrow Flight and Flight SQL on the same port.",
            "version": version,
        },
        "security": [{"bearer": []}, {"basic": []}],
        "paths": {
            "/export/{dataset}.{format}": {"get": export(datasets), "post": statement()},
            "/datasets": {"get": page("the datasets with their columns", "listDatasets", "Datasets")},
            "/healthz": {"get": health()},
            "/openapi.json": {"get": page("this document", "getDocument", "Document")},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "responses": responses(),
            "schemas": schemas(datasets),
        },
    });
    if let Some(server) = server {
        document["servers"] = json!([{"url": server}]);
    }
    document
}

/// The page `/datasets`.
pub fn datasets(datasets: &[DatasetDoc]) -> Value {
    let column = |column: &ColumnDoc| {
        let ColumnDoc { name, kind, unit, comment } = column;
        json!({"name": name, "type": kind_name(*kind), "unit": unit, "comment": comment})
    };
    let dataset = |dataset: &DatasetDoc| {
        let DatasetDoc { name, about, columns, filters } = dataset;
        let columns: Vec<_> = columns.iter().map(column).collect();
        json!({"name": name, "about": about, "filters": filters, "columns": columns})
    };
    datasets.iter().map(dataset).collect()
}

fn export(datasets: &[DatasetDoc]) -> Value {
    let names: Vec<_> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    json!({
        "operationId": "export",
        "summary": "The rows of a dataset as a file",
        "description": "Each dataset has its own columns and filters; see /datasets. Instants are RFC 3339. In CSV an apostrophe \
                        guards texts that a spreadsheet would run. XML is DATEX II 2.x of traffic readings. With sql the \
                        rows are those of a statement, and dataset only names the file.",
        "parameters": parameters(&names),
        "responses": files(&Format::ALL),
    })
}

fn statement() -> Value {
    let formats = Format::OF_STATEMENTS.map(Format::name);
    let text = json!({"schema": {"type": "string", "maxLength": TEXT_BYTES_MAX}});
    json!({
        "operationId": "exportStatement",
        "summary": "The answer of a statement as a file",
        "parameters": [
            {"name": "dataset", "in": "path", "required": true, "description": "the name of the file", "schema": {"type": "string"}},
            {"name": "format", "in": "path", "required": true, "schema": {"type": "string", "enum": formats}},
        ],
        "requestBody": {
            "description": "one SELECT",
            "required": true,
            "content": {"application/sql": text, "text/plain": text},
        },
        "responses": files(&Format::OF_STATEMENTS),
    })
}

fn files(formats: &[Format]) -> Value {
    let content: Map<_, _> = formats.iter().map(|format| (media_type(*format), content(*format))).collect();
    let header = |about: &str| json!({"description": about, "schema": {"type": "string"}});
    let mut responses = json!({
        "200": {
            "description": "the rows, as a download; a transfer that breaks off is not the whole answer",
            "headers": {
                "Content-Disposition": header("the file's name: the same filters give the same one"),
                "Screenline-Complete-Until": header("rows before this instant change no more, except by corrections"),
            },
            "content": content,
        },
    });
    refer(&mut responses, &ProblemKind::ALL);
    responses
}

fn parameters(names: &[&str]) -> Value {
    let formats = Format::ALL.map(Format::name);
    let list = |name: &str, about: &str| {
        json!({
            "name": name, "in": "query", "description": format!("{about}; may be repeated, or a list with commas"),
            "style": "form", "explode": true, "schema": {"type": "array", "items": {"type": "string"}},
        })
    };
    let single = |name: &str, about: &str, schema: Value| json!({"name": name, "in": "query", "description": about, "schema": schema});
    let instant = || json!({"type": "string", "format": "date-time", "examples": ["2026-01-01T00:00:00Z"]});
    json!([
        {
            "name": "dataset", "in": "path", "required": true, "description": "one that there is; with sql the name of the file",
            "schema": {"anyOf": [{"type": "string", "enum": names}, {"type": "string"}]},
        },
        {"name": "format", "in": "path", "required": true, "schema": {"type": "string", "enum": formats}},
        single("from", "rows of this instant and after", instant()),
        single("to", "rows before this instant", instant()),
        list("sensor", "names of sensors"),
        list("metric", "names of metrics"),
        list("segment", "names of road segments"),
        list("zone", "names of zones"),
        list("columns", "the columns to answer with, in this order"),
        single("width", "of buckets, such as 15m", json!({"type": "string"})),
        single("limit", "rows at most", json!({"type": "integer", "minimum": 0})),
        single("sql", "one SELECT, instead of all filters; as csv, parquet or arrow", json!({"type": "string"})),
    ])
}

/// Without its parameters, as the keys of `content` are compared.
fn media_type(format: Format) -> String {
    let media_type = format.media_type();
    media_type.split_once(';').map_or(media_type, |(name, _)| name).to_owned()
}

fn content(format: Format) -> Value {
    match format {
        Format::Csv | Format::Xml => json!({"schema": {"type": "string"}}),
        // OpenAPI 3.1 leaves out the schema of bytes.
        Format::Parquet | Format::Arrow => json!({}),
        Format::GeoJson => json!({"schema": {"$ref": "#/components/schemas/FeatureCollection"}}),
    }
}

fn page(about: &str, id: &str, schema: &str) -> Value {
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    let mut responses =
        json!({"200": {"description": about, "content": {"application/json": {"schema": schema}}}});
    refer(&mut responses, &[ProblemKind::Unauthenticated, ProblemKind::Denied]);
    json!({"operationId": id, "summary": about, "responses": responses})
}

fn health() -> Value {
    let text = json!({"text/plain": {"schema": {"type": "string"}}});
    json!({
        "operationId": "health",
        "summary": "whether the database answers",
        "security": [],
        "responses": {
            "200": {"description": "it does", "content": text},
            "503": {"description": "it does not, and why", "content": text},
        },
    })
}

fn refer(responses: &mut Value, kinds: &[ProblemKind]) {
    for kind in kinds {
        let name = format!("{kind:?}");
        responses[kind.status().as_str()] = json!({"$ref": format!("#/components/responses/{name}")});
    }
}

fn responses() -> Value {
    let response = |kind: ProblemKind| {
        let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        (format!("{kind:?}"), json!({"description": kind.about(), "content": content}))
    };
    ProblemKind::ALL.into_iter().map(response).collect()
}

fn schemas(datasets: &[DatasetDoc]) -> Value {
    let text = || json!({"type": "string"});
    let optional = || json!({"type": ["string", "null"]});
    let mut schemas = json!({
        "Error": {
            "type": "object",
            "required": ["error", "status"],
            "properties": {
                "error": {"type": "string", "description": "what is wrong, and what to do about it"},
                "status": {"type": "integer"},
            },
        },
        "Document": {"type": "object"},
        "Datasets": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "about", "filters", "columns"],
                "properties": {
                    "name": text(),
                    "about": text(),
                    "filters": {"type": "array", "items": text()},
                    "columns": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "type"],
                            "properties": {"name": text(), "type": text(), "unit": optional(), "comment": optional()},
                        },
                    },
                },
            },
        },
        "FeatureCollection": {
            "type": "object",
            "required": ["type", "features"],
            "properties": {
                "type": {"const": "FeatureCollection"},
                "features": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "geometry", "properties"],
                        "properties": {
                            "type": {"const": "Feature"},
                            "geometry": {"type": ["object", "null"]},
                            "properties": {
                                "description": "the columns of the dataset",
                                "anyOf": datasets.iter().map(reference).collect::<Vec<_>>(),
                            },
                        },
                    },
                },
            },
        },
    });
    for dataset in datasets {
        schemas[schema_name(dataset)] = row(dataset);
    }
    schemas
}

/// Of a row. In snake case as the datasets are, so that it never meets a schema of ours.
fn schema_name(dataset: &DatasetDoc) -> String {
    format!("row_{}", dataset.name)
}

fn reference(dataset: &DatasetDoc) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema_name(dataset))})
}

fn row(dataset: &DatasetDoc) -> Value {
    let properties: Map<_, _> =
        dataset.columns.iter().map(|column| (column.name.clone(), property(column))).collect();
    json!({
        "type": "object",
        "description": dataset.about,
        "properties": properties,
        "x-filters": dataset.filters,
    })
}

fn property(column: &ColumnDoc) -> Value {
    let mut schema = match column.kind {
        Kind::Time => json!({"type": ["string", "null"], "format": "date-time"}),
        Kind::Float => json!({"type": ["number", "null"], "format": "double"}),
        Kind::Int32 => json!({"type": ["integer", "null"], "format": "int32"}),
        Kind::Int64 => json!({"type": ["integer", "null"], "format": "int64"}),
        Kind::Bool => json!({"type": ["boolean", "null"]}),
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Bytes => json!({"type": ["string", "null"], "contentEncoding": "base16"}),
    };
    if let Some(comment) = &column.comment {
        schema["description"] = comment.as_str().into();
    }
    if let Some(unit) = &column.unit {
        schema["x-unit"] = unit.as_str().into();
    }
    schema
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Time => "time",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Bool => "bool",
        Kind::Text => "text",
        Kind::Bytes => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs() -> Vec<DatasetDoc> {
        let column = |name: &str, kind, unit: Option<&str>| ColumnDoc {
            name: name.into(),
            kind,
            unit: unit.map(Into::into),
            comment: Some(format!("the {name}")),
        };
        vec![DatasetDoc {
            name: "event".into(),
            about: "one passage".into(),
            columns: vec![column("time", Kind::Time, None), column("speed", Kind::Float, Some("km/h"))],
            filters: vec!["from".into(), "sensor".into()],
        }]
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&docs(), Some("https://data.example.org"), "1.2.3");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        assert_eq!(document["servers"][0]["url"], "https://data.example.org");
        assert_eq!(document["info"]["version"], "1.2.3");
    }

    #[test]
    fn every_path_says_what_it_answers() {
        let document = document(&docs(), None, "0");
        assert!(document.get("servers").is_none());
        for (path, item) in document["paths"].as_object().unwrap() {
            let responses = item["get"]["responses"].as_object().unwrap();
            assert!(responses.contains_key("200"), "{path}");
            assert!(responses.values().all(|response| response.is_object()), "{path}");
        }
        let export = &document["paths"]["/export/{dataset}.{format}"]["get"];
        assert_eq!(export["responses"].as_object().unwrap().len(), 1 + ProblemKind::ALL.len());
        assert_eq!(export["responses"]["200"]["content"].as_object().unwrap().len(), Format::ALL.len());
        let statement = &document["paths"]["/export/{dataset}.{format}"]["post"];
        assert!(statement["requestBody"]["content"]["application/sql"].is_object());
        assert_eq!(statement["responses"]["200"]["content"].as_object().unwrap().len(), 3);
    }

    #[test]
    fn columns_have_type_unit_and_comment() {
        let document = document(&docs(), None, "0");
        let speed = &document["components"]["schemas"]["row_event"]["properties"]["speed"];
        assert_eq!(
            *speed,
            json!({"type": ["number", "null"], "format": "double", "description": "the speed", "x-unit": "km/h"})
        );
        let page = datasets(&docs());
        assert_eq!(page[0]["filters"], json!(["from", "sensor"]));
        let speed = json!({"name": "speed", "type": "float", "unit": "km/h", "comment": "the speed"});
        assert_eq!(page[0]["columns"][1], speed);
    }
}
