//! The state as whoever asks acts on it: what is done through it is written down as their deed. Handlers of the API take nothing
//! else. Pages where somebody proves who they are take the bare state, since who asks is not known before.

use crate::PortalState;
use crate::caller::{Caller, Source};
use axum::extract::FromRequestParts;
use doorward_control::Actor;
use doorward_core::LoginId;
use doorward_core::access::Facts;
use doorward_core::login::LoginKind;
use http::request::Parts;
use std::convert::Infallible;

/// What handlers take in place of the bare state. Without a caller nobody is named.
pub(crate) struct Acting(pub(crate) PortalState);

impl FromRequestParts<PortalState> for Acting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &PortalState) -> Result<Self, Infallible> {
        let mut state = state.clone();
        if let Some(caller) = parts.extensions.get::<Caller>().cloned() {
            let Source(source) = Source::from_request_parts(parts, &state).await?;
            let actor = match caller {
                Caller::Owner => Actor::Owner,
                Caller::Person { account, login, .. } => {
                    Actor::Person { account, grounds: grounds(&state, login), source }
                }
            };
            state.control = state.control.acting_as(actor);
        }
        Ok(Self(state))
    }
}

/// As visits by a login are written down; a token also by what its person called it, since that is how they find it again.
fn grounds(state: &PortalState, id: LoginId) -> String {
    let snapshot = state.control.snapshot();
    match snapshot.login(id) {
        Some(login) => match login.kind {
            LoginKind::Browser => format!("login {id}"),
            LoginKind::Certificate => format!("certificate {id} ({})", login.title),
            LoginKind::Token => format!("token {id} ({})", login.title),
        },
        // It was ended since it was recognised.
        None => format!("login {id}"),
    }
}
