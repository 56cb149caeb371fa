//! The API's description (OpenAPI 3.1.1), made of the very types that handlers take and give: what is not described does not
//! compile, and no list of routes is kept beside the routes.

mod given;
mod taken;

pub(crate) use given::{Created, Done, Given, json as gives_json};
pub(crate) use taken::Taken;

use doorward_core::authority::Action;
use http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One route with one method.
pub(crate) struct Operation {
    pub(crate) action: Action,
    pub(crate) method: Method,
    /// Below `/api/v1`.
    pub(crate) path: String,
    what: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
}

#[derive(Default)]
struct Answer {
    says: &'static str,
    kind: Option<(&'static str, Value)>,
    headers: Vec<(&'static str, &'static str)>,
}

/// A handler whose types say all about it. `D`: what it takes, as a tuple.
pub(crate) trait Described<D> {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator);
}

macro_rules! described {
    ($($taken:ident)*) => {
        impl<Handler, Answering, Gives, $($taken,)*> Described<($($taken,)*)> for Handler
        where
            Handler: FnOnce($($taken,)*) -> Answering,
            Answering: Future<Output = Gives>,
            Gives: Given,
            $($taken: Taken,)*
        {
            fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
                $($taken::describe(operation, schemas);)*
                Gives::describe(operation, schemas);
            }
        }
    };
}

described!(A);
described!(A B);
described!(A B C);
described!(A B C D);
described!(A B C D E);
described!(A B C D E F);

impl Operation {
    pub(crate) fn of<H: Described<D>, D>(
        action: Action,
        method: &Method,
        path: &str,
        what: &'static str,
        schemas: &mut SchemaGenerator,
    ) -> Self {
        let (method, path) = (method.clone(), path.to_owned());
        let (parameters, answers) = (Vec::new(), BTreeMap::new());
        let mut operation = Self { action, method, path, what, parameters, body: None, answers };
        operation.refuses(StatusCode::UNAUTHORIZED, "nobody is signed in");
        operation.refuses(StatusCode::FORBIDDEN, "this is not for them, or not for this token");
        operation.refuses(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed");
        operation.refuses(StatusCode::SERVICE_UNAVAILABLE, "the gateway is busy or about to stop");
        if !operation.method.is_safe() {
            operation.changes();
        }
        H::describe(&mut operation, schemas);
        operation
    }

    fn changes(&mut self) {
        self.refuses(StatusCode::BAD_REQUEST, "the request is not understood, or makes no sense");
        self.refuses(StatusCode::NOT_FOUND, "something that it names is not there, or not theirs to know");
        self.refuses(StatusCode::CONFLICT, "it does not go with what is there");
        self.refuses(StatusCode::INSUFFICIENT_STORAGE, "the gateway's disk is full");
        if self.method == Method::POST {
            self.refuses(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request");
            let about =
                "A repetition with the same key (1 to 100 characters, within a day) gets the first one's answer.";
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$" });
            self.parameter("header", "Idempotency-Key", false, schema, about);
        }
    }

    pub(crate) fn parameter(&mut self, place: &str, name: &str, is_required: bool, schema: Value, about: &str) {
        let mut parameter = json!({ "in": place, "name": name, "required": is_required, "schema": schema });
        if !about.is_empty() {
            parameter["description"] = about.into();
        }
        self.parameters.push(parameter);
    }

    pub(crate) fn refuses(&mut self, status: StatusCode, says: &'static str) {
        let problem = json!({ "$ref": "#/components/schemas/Problem" });
        let kind = Some(("application/problem+json", problem));
        self.answers.insert(status.as_u16(), Answer { says, kind, headers: Vec::new() });
    }

    pub(crate) fn answers(&mut self, status: StatusCode, says: &'static str, body: Option<(&'static str, Value)>) {
        let answer = self.answers.entry(status.as_u16()).or_default();
        (answer.says, answer.kind) = (says, body);
    }

    /// Its good answer is 201.
    pub(crate) fn is_made(&mut self) {
        if let Some(answer) = self.answers.remove(&StatusCode::OK.as_u16()) {
            self.answers.insert(StatusCode::CREATED.as_u16(), Answer { says: "it was made", ..answer });
        }
    }

    /// Of the good answer.
    pub(crate) fn header(&mut self, name: &'static str, about: &'static str) {
        for (_, answer) in self.answers.range_mut(200..300) {
            answer.headers.push((name, about));
        }
    }

    /// The names between braces.
    pub(crate) fn places(&self) -> Vec<String> {
        let parts = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        parts.map(str::to_owned).collect()
    }

    fn to_json(&self) -> Value {
        let answers: Map<String, Value> =
            self.answers.iter().map(|(status, a)| (status.to_string(), a.to_json())).collect();
        let mut all = json!({ "operationId": self.action.word(), "summary": self.what, "responses": answers });
        if !self.parameters.is_empty() {
            all["parameters"] = self.parameters.clone().into();
        }
        if let Some(body) = &self.body {
            all["requestBody"] = body.clone();
        }
        all
    }
}

impl Answer {
    fn to_json(&self) -> Value {
        let mut answer = json!({ "description": self.says });
        if let Some((kind, schema)) = &self.kind {
            answer["content"] = json!({ *kind: { "schema": schema } });
        }
        for (name, about) in &self.headers {
            answer["headers"][*name] = json!({ "description": about, "schema": { "type": "string" } });
        }
        answer
    }
}

/// As answers are written; OpenAPI's schemas are JSON Schema 2020-12.
pub(crate) fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// As requests are read.
fn schema_taken<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

pub(crate) fn document(operations: &[Operation], mut schemas: Map<String, Value>, release: &str) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let methods = paths.entry(&operation.path).or_default();
        methods.insert(operation.method.as_str().to_ascii_lowercase(), operation.to_json());
    }
    schemas.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Doorward",
            "version": release,
            "description": "What the portal's pages and the commands do. Times are RFC 3339; lists are arrays; errors are RFC 9457.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// RFC 9457, with what to do next. `error` is what programs of the first release read.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "remedy", "error"],
        "properties": {
            "type": text, "title": text, "status": { "type": "integer" }, "detail": text, "remedy": text,
            "error": {
                "type": "object", "required": ["what", "remedy"], "properties": { "what": text, "remedy": text },
            },
        },
    })
}
