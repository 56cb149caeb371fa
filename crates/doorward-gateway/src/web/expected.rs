//! Bodies that a visitor holds back until the target asks for them (RFC 9110, 10.1.1). Asking for one makes hyper tell
//! the visitor to go on; so that is not done before the target has.

use super::Body;
use doorward_core::web::WebProtocol;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode, Version};
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Many a target never says "100 Continue"; and visitors do not wait for ever either. curl waits for as long.
const LIMIT: Duration = Duration::from_secs(1);

/// Ends when a body may be asked for.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a body that is held back.
#[derive(Clone, Default)]
pub(crate) struct Expected(Option<Word>);

#[derive(Clone, Default)]
struct Word {
    asked: CancellationToken,
    answered: CancellationToken,
    passed: CancellationToken,
}

impl Expected {
    /// HTTP/2 on either side: there hyper tells no visitor to go on, and nobody would hear the target.
    pub(crate) fn of(version: Version, headers: &HeaderMap, protocol: WebProtocol) -> Self {
        let is_http1 = version == Version::HTTP_11 && protocol == WebProtocol::Http1;
        let is_held = is_http1 && headers.contains_key(EXPECT);
        Self(is_held.then(Word::default))
    }

    pub(crate) fn waiting(&self) -> Option<Waiting> {
        let Word { asked, answered, passed } = self.0.clone()?;
        Some(Box::pin(async move {
            tokio::select! {
                biased;
                () = answered.cancelled() => pending().await,
                _ = timeout(LIMIT, asked.cancelled()) => passed.cancel(),
            }
        }))
    }

    /// Has hyper tell when the target asks for the body.
    pub(crate) fn listen(&self, request: &mut Request<Body>) {
        if let Some(Word { asked, .. }) = self.0.clone() {
            hyper::ext::on_informational(request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    asked.cancel();
                }
            });
        }
    }

    /// The answer has come. If the body was not asked for by now, it never will be.
    pub(crate) fn answered(&self) {
        if let Some(word) = &self.0 {
            word.answered.cancel();
        }
    }

    /// Whether an answer came in place of asking for the body.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.0.as_ref().is_some_and(|word| word.answered.is_cancelled() && !word.passed.is_cancelled())
    }
}
