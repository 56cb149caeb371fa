//! What handlers give.

use super::Operation;
use crate::answer::{Problem, Versioned};
use crate::paging::Listed;
use axum::Json;
use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};

pub(crate) trait Given {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator);
}

/// Made by what was asked.
pub(crate) struct Created<T>(pub(crate) T);

impl<T: axum::response::IntoResponse> axum::response::IntoResponse for Created<T> {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::CREATED, self.0).into_response()
    }
}

/// Done; there is nothing to say.
pub(crate) struct Done;

impl axum::response::IntoResponse for Done {
    fn into_response(self) -> axum::response::Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

pub(crate) fn json<T: JsonSchema>(operation: &mut Operation, schemas: &mut SchemaGenerator) {
    let schema = schemas.subschema_for::<T>().to_value();
    operation.answers(StatusCode::OK, "as asked", Some(("application/json", schema)));
}

impl<T: JsonSchema> Given for Json<T> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        json::<T>(operation, schemas);
    }
}

impl<T: JsonSchema> Given for Listed<T> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        json::<Vec<T>>(operation, schemas);
        operation.header("Link", "Where the list goes on, as rel=\"next\" (RFC 8288), if it does.");
    }
}

impl<T: JsonSchema> Given for Versioned<T> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        json::<T>(operation, schemas);
        operation.header("ETag", "Its version, for If-Match.");
    }
}

impl<T: Given> Given for Created<T> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        T::describe(operation, schemas);
        operation.is_made();
    }
}

impl Given for Done {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        operation.answers(StatusCode::NO_CONTENT, "it was done", None);
    }
}

impl<T: Given> Given for Result<T, Problem> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        T::describe(operation, schemas);
    }
}
