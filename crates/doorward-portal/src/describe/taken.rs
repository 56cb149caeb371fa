//! What handlers take.

use super::{Operation, schema_taken};
use crate::acting::Acting;
use crate::answer::{Asked, At, Body, MAX_BODY, Seen};
use crate::asker::Asker;
use crate::caller::Source;
use crate::paging::Paging;
use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

const SHORT: &str = "the body is larger than 64 KiB";
const LONG: &str = "the body is larger than 1 MiB";

pub(crate) trait Taken {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator);
}

impl Taken for Acting {
    fn describe(_: &mut Operation, _: &mut SchemaGenerator) {}
}

/// What the program itself gives along.
impl<T> Taken for axum::Extension<T> {
    fn describe(_: &mut Operation, _: &mut SchemaGenerator) {}
}

impl Taken for Source {
    fn describe(_: &mut Operation, _: &mut SchemaGenerator) {}
}

impl Taken for Asker {
    fn describe(_: &mut Operation, _: &mut SchemaGenerator) {}
}

impl<T: JsonSchema> Taken for At<T> {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = schema_taken::<T>();
        let each = match schema.get("prefixItems") {
            Some(Value::Array(each)) => each.clone(),
            Some(_) | None => vec![schema],
        };
        for (name, schema) in operation.places().iter().zip(each) {
            operation.parameter("path", name, true, schema, "");
        }
        operation.refuses(StatusCode::BAD_REQUEST, "the request is not understood, or makes no sense");
        operation.refuses(StatusCode::NOT_FOUND, "it is not there, or not theirs to know");
    }
}

impl<T: JsonSchema> Taken for Asked<T> {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = schema_taken::<T>();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            operation.parameter("query", name, false, without_null(schema), "");
        }
        operation.refuses(StatusCode::BAD_REQUEST, "the request is not understood, or makes no sense");
    }
}

/// A query says nothing by leaving it out.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    schema
}

impl Taken for Paging {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let number = json!({ "type": "integer", "minimum": 1, "maximum": 10_000 });
        operation.parameter("query", "limit", false, number, "So many at most; without it, all.");
        let text = json!({ "type": "string" });
        operation.parameter("query", "after", false, text, "As the last answer's Link header has it.");
        operation.refuses(StatusCode::BAD_REQUEST, "the request is not understood, or makes no sense");
    }
}

impl Taken for Seen {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = json!({ "type": "string", "pattern": "^(\\*|\"-?[0-9]{1,18}\")$" });
        operation.parameter("header", "If-Match", false, schema, "The version that was seen, as \"3\".");
        operation.refuses(StatusCode::PRECONDITION_FAILED, "it was changed meanwhile");
    }
}

impl<T: JsonSchema, const MAX: usize> Taken for Body<T, MAX> {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = schema_taken::<T>();
        // An empty body is read as an empty object.
        let is_required = schema.get("required").is_some();
        let content = json!({ "application/json": { "schema": schema } });
        operation.body = Some(json!({ "required": is_required, "content": content }));
        operation.refuses(StatusCode::PAYLOAD_TOO_LARGE, if MAX == MAX_BODY { SHORT } else { LONG });
    }
}
