//! Every answer that a test sees is held against the description: its status must be documented, its body be as documented.

use super::support::*;
use http::Method;
use serde_json::{Value, json};
use std::sync::OnceLock;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| crate::api::routes().document("0.0.0"))
}

fn is_at(template: &str, path: &str) -> bool {
    let (mut places, mut parts) = (template.split('/'), path.split('/'));
    let all = places.by_ref().zip(parts.by_ref()).all(|(place, part)| place.starts_with('{') || place == part);
    all && template.split('/').count() == path.split('/').count()
}

pub(super) fn is_described(method: &Method, path: &str, answer: &Answer) {
    let Some(path) = path.strip_prefix("/api/v1") else { return };
    let paths = document()["paths"].as_object().unwrap();
    let mut found: Vec<_> = paths.iter().filter(|(template, _)| is_at(template, path)).collect();
    found.sort_by_key(|(template, _)| template.matches('{').count());
    let Some(operation) = found.first().and_then(|(_, item)| item.get(method.as_str().to_ascii_lowercase())) else {
        assert!(matches!(answer.status.as_u16(), 401 | 403 | 404 | 405), "{method} {path} is not described");
        return;
    };
    // Another door, which has no such route.
    if answer.text.contains("there is nothing at") || answer.text.contains("another site's page") {
        return;
    }
    let status = answer.status.as_str();
    let response = &operation["responses"][status];
    assert!(response.is_object(), "{method} {path} answered {status}, which is not described: {}", answer.text);
    let Some(content) = response.get("content") else {
        assert_eq!(answer.text, "", "{method} {path} {status}");
        return;
    };
    let kind = answer.header("content-type");
    let schema = &content[kind]["schema"];
    assert!(schema.is_object() || schema == true, "{method} {path} {status}: {kind} is not described");
    if kind == "text/event-stream" {
        return;
    }
    if let Err(why) = fits(&answer.json(), schema) {
        panic!("{method} {path} {status}: {why} in {}", answer.text);
    }
}

/// As much of JSON Schema as the description uses; anything else in it fails.
fn fits(value: &Value, schema: &Value) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Ok(()) };
    for (word, rule) in schema {
        match word.as_str() {
            "$ref" => {
                let place = rule.as_str().unwrap().strip_prefix('#').unwrap();
                fits(value, document().pointer(place).ok_or_else(|| format!("no {place}"))?)?;
            }
            "type" => is_of_type(value, rule)?,
            "enum" if !rule.as_array().unwrap().contains(value) => return Err(format!("{value} is none of {rule}")),
            "const" if rule != value => return Err(format!("{value} is not {rule}")),
            "required" => {
                let missing = rule.as_array().unwrap().iter().find(|key| value.get(key.as_str().unwrap()).is_none());
                missing.map_or(Ok(()), |key| Err(format!("{key} is missing in {value}")))?;
            }
            "properties" => {
                for (key, schema) in rule.as_object().unwrap() {
                    value.get(key).map_or(Ok(()), |value| fits(value, schema))?;
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(item, rule)?;
                }
            }
            "anyOf" | "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|schema| fits(value, schema).is_ok()).count();
                if fitting == 0 || (word == "oneOf" && fitting > 1) {
                    return Err(format!("{value} fits {fitting} of {rule}"));
                }
            }
            "enum"
            | "const"
            | "title"
            | "description"
            | "format"
            | "minimum"
            | "maximum"
            | "additionalProperties"
            | "default"
            | "unevaluatedProperties"
            | "examples" => {}
            other => return Err(format!("the schema says {other}, which this test does not know")),
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, rule: &Value) -> Result<(), String> {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == name || (wanted == "number" && name == "integer");
    let fine = rule.as_array().map_or_else(|| is(rule), |rules| rules.iter().any(is));
    if fine { Ok(()) } else { Err(format!("{value} is not of type {rule}")) }
}

#[test]
fn a_schema_is_really_held_against_answers() {
    let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": ["string", "null"]}}});
    assert!(fits(&json!({"a": null, "b": 1}), &schema).is_ok());
    assert!(fits(&json!({"b": 1}), &schema).is_err());
    assert!(fits(&json!({"a": 1}), &schema).is_err());
    assert!(fits(&json!("c"), &json!({"enum": ["a", "b"]})).is_err());
    assert!(fits(&json!({}), &json!({"surprising": 1})).is_err());
}

#[tokio::test]
async fn the_description_is_served_and_names_every_route_once() {
    let portal = Portal::open().await;
    let served = portal.ask("GET", "/api/v1/openapi.json", "").await.json();
    assert_eq!(served["openapi"], "3.1.1");
    assert_eq!(&served, document());
    let methods = served["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap());
    let mut ids: Vec<_> = methods.flat_map(|item| item.values().map(|o| o["operationId"].as_str().unwrap())).collect();
    ids.sort_unstable();
    let mut actions: Vec<_> = doorward_core::authority::Action::ALL.iter().map(|action| action.word()).collect();
    actions.sort_unstable();
    assert_eq!(ids, actions);
}
