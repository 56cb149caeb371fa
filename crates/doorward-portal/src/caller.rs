//! Who asks. A request extension that every handler can extract; without one nobody is signed in.

use crate::answer::Problem;
use crate::site::{self, sign_in_first};
use crate::{PortalState, cookies};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use doorward_control::accounts::OWNER;
use doorward_core::access::Visitor;
use doorward_core::login::{Login, LoginKind};
use doorward_core::person::{Person, Role};
use doorward_core::{AccountId, LoginId};
use http::StatusCode;
use http::request::Parts;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever may open the unix socket. Acts as the first account.
    Owner,
    Person {
        account: AccountId,
        role: Role,
        login: LoginId,
    },
}

impl Caller {
    pub fn account(&self) -> AccountId {
        match self {
            Self::Owner => OWNER,
            Self::Person { account, .. } => *account,
        }
    }

    pub fn role(&self) -> Role {
        match self {
            Self::Owner => Role::Owner,
            Self::Person { role, .. } => *role,
        }
    }

    pub fn login(&self) -> Option<LoginId> {
        match self {
            Self::Owner => None,
            Self::Person { login, .. } => Some(*login),
        }
    }

    pub(crate) fn of(person: &Person, login: &Login) -> Self {
        Self::Person { account: person.id, role: person.role, login: login.id }
    }
}

/// A person at a browser, with all that pages say of them. Only by the cookie.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) person: Arc<Person>,
    pub(crate) login: Login,
}

/// From where the request came, if it came over a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) Option<IpAddr>);

/// Finds out by the cookie who asks.
pub(crate) async fn recognise(State(state): State<PortalState>, mut request: Request, next: Next) -> Response {
    let token = cookies::read(request.headers(), cookies::LOGIN);
    let found = token.and_then(|token| state.control.signed_in(&token, (state.clock)()));
    // A program's token opens no browser's door.
    if let Some((person, login)) = found.filter(|(_, login)| login.kind == LoginKind::Browser) {
        request.extensions_mut().insert(Caller::of(&person, &login));
        request.extensions_mut().insert(SignedIn { person, login });
    }
    next.run(request).await
}

/// On the unix socket.
pub(crate) async fn is_owner(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Caller::Owner);
    next.run(request).await
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| nobody(parts))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| nobody(parts))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for SignedIn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Visitor>().map(Visitor::source)))
    }
}

/// A browser on its way to a page is sent to sign in; everybody else is told.
fn nobody(parts: &Parts) -> Response {
    if site::is_navigation(&parts.method, &parts.headers) {
        return sign_in_first(&parts.uri);
    }
    Problem::new(StatusCode::UNAUTHORIZED, "nobody is signed in here", "sign in, or send a token").into_response()
}
