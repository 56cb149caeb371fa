//! Routes of the API: each with its action, its handler, and what the handler's own types say of it.

use crate::PortalState;
use crate::asker::keep_to_the_table;
use crate::describe::{Described, Operation};
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn;
use axum::routing::{MethodFilter, on};
use doorward_core::authority::Action;
use http::Method;
use schemars::SchemaGenerator;

pub(crate) struct Routes {
    router: Router<PortalState>,
    operations: Vec<Operation>,
    schemas: SchemaGenerator,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self { router: Router::new(), operations: Vec::new(), schemas: crate::describe::generator() }
    }

    /// `path` below `/api/v1`; `what` is a sentence for the description.
    pub(crate) fn add<H, T, D>(
        self,
        action: Action,
        method: &Method,
        path: &str,
        what: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, PortalState> + Described<D>,
        T: 'static,
    {
        let Self { router, mut operations, mut schemas } = self;
        operations.push(Operation::of::<H, D>(action, method, path, what, &mut schemas));
        let filter = MethodFilter::try_from(method.clone()).expect("only common methods are routed");
        let guarded = on(filter, handler).layer(from_fn(move |request, next| keep_to_the_table(action, request, next)));
        Self { router: router.route(path, guarded), operations, schemas }
    }

    /// What the last one is about may be missing.
    pub(crate) fn or_missing(mut self) -> Self {
        if let Some(last) = self.operations.last_mut() {
            last.refuses(http::StatusCode::NOT_FOUND, "there is none");
        }
        self
    }

    pub(crate) fn into_router(self) -> Router<PortalState> {
        self.router
    }

    #[cfg(test)]
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The OpenAPI document of all of them.
    pub(crate) fn document(&mut self, release: &str) -> serde_json::Value {
        crate::describe::document(&self.operations, self.schemas.take_definitions(true), release)
    }
}
