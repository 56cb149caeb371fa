//! What an owner who looks at a service's requests gets to see of them. Where nobody looks, a request passes as it is: it is
//! neither copied nor wrapped.

pub(crate) mod replay;

use super::Body;
use super::passage::Passage;
use crate::admit::Admitted;
use bytes::Bytes;
use doorward_control::{Control, Ending, Exchange, KeptBody, Replayable, Seen, Taken};
use doorward_core::access::Facts;
use doorward_core::inspection;
use doorward_core::names::PathPrefix;
use doorward_core::web::WebProtocol;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request that somebody looks at. Dropped before its end, it is shown as broken off.
pub(crate) struct Look(Option<Exchange>);

/// More than any honest request has.
const MOST_HEADERS: usize = 100;

impl Look {
    /// `None`: nobody looks. `public`: what the visitor asked for; `outgoing`: what the target is asked.
    pub(crate) fn begin(
        control: &Control,
        admitted: &Admitted,
        passage: &Passage,
        public: &Uri,
        outgoing: &Request<Body>,
    ) -> Option<Self> {
        let asked = Asked {
            public: public.path_and_query().map_or("/", |path| path.as_str()),
            mount: passage.mount.as_ref(),
            protocol: passage.protocol,
            replay_of: None,
        };
        asked.take(control, admitted, outgoing)
    }

    /// The body is noted as it passes.
    pub(super) fn listen(&self, request: Request<Body>) -> Request<Body> {
        let Some(exchange) = self.0.clone() else { return request };
        request.map(|body| Tap { body, exchange, side: Side::Request, ends: None }.boxed_unsync())
    }

    /// So is the answer's, with the end of all.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Body> {
        let Some(exchange) = self.0.take() else { return response };
        exchange.answered(response.status().as_u16(), headers(response.headers()));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            exchange.ended(Ending::Upgraded);
            // What comes of it hangs on the response itself.
            return response;
        }
        let ends = Some(Unfinished(exchange.clone()));
        response.map(|body| Tap { body, exchange, side: Side::Answer, ends }.boxed_unsync())
    }

    pub(super) fn failed(mut self, hop: &str) {
        if let Some(exchange) = self.0.take() {
            exchange.ended(Ending::Failed(hop.to_owned()));
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.ended(Ending::Broken);
        }
    }
}

/// What is asked, and of which part of a service.
struct Asked<'a> {
    public: &'a str,
    mount: Option<&'a PathPrefix>,
    protocol: WebProtocol,
    replay_of: Option<u64>,
}

impl Asked<'_> {
    fn take(&self, control: &Control, admitted: &Admitted, outgoing: &Request<Body>) -> Option<Look> {
        let now = Timestamp::now();
        let taken = control.inspections().take(admitted.service.id, now, |with_bodies| {
            let visitor = admitted.permit.visitor();
            let snapshot = control.snapshot();
            let person = snapshot.accounts_of(visitor).next().and_then(|account| snapshot.person(account));
            let target = inspection::url(outgoing.uri().path_and_query().map_or("/", |path| path.as_str()));
            Seen {
                number: 0,
                at: now,
                source: visitor.source(),
                person: person.map(|person| person.name.to_string()),
                method: outgoing.method().to_string(),
                path: inspection::url(self.public).text,
                replayable: self.replayable(outgoing, target.is_hidden),
                target_path: target.text,
                mount: self.mount.cloned(),
                request: Taken {
                    headers: headers(outgoing.headers()),
                    bytes: 0,
                    body: with_bodies.then(|| KeptBody { is_whole: true, ..KeptBody::default() }),
                },
                status: None,
                answer: Taken::default(),
                waited: None,
                took: None,
                ending: Ending::None,
                replay_of: self.replay_of,
            }
        })?;
        Some(Look(Some(taken)))
    }

    fn replayable(&self, outgoing: &Request<Body>, is_hidden: bool) -> Replayable {
        match self.protocol {
            WebProtocol::Http1 => {}
            WebProtocol::H2c | WebProtocol::H2 => return Replayable::No("its target speaks HTTP/2"),
        }
        if is_hidden {
            return Replayable::No("its address carried something secret, which is not kept");
        }
        if outgoing.headers().contains_key(http::header::UPGRADE) {
            return Replayable::No("it asked for something that is not HTTP any more");
        }
        Replayable::Yes
    }
}

fn headers(headers: &HeaderMap) -> Vec<(String, String, bool)> {
    let shown = headers.iter().take(MOST_HEADERS).map(|(name, value)| {
        let shown = inspection::header(name.as_str(), value.as_bytes());
        (name.to_string(), shown.text, shown.is_hidden)
    });
    shown.collect()
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Answer,
}

/// A body that is noted as it passes.
struct Tap {
    body: Body,
    exchange: Exchange,
    side: Side,
    /// Of the answer: whether its end is still to come.
    ends: Option<Unfinished>,
}

/// An answer that nobody has seen the end of.
struct Unfinished(Exchange);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What ended before says so already.
        self.0.ended(Ending::Broken);
    }
}

impl http_body::Body for Tap {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(piece) = frame.data_ref()
        {
            match self.side {
                Side::Request => self.exchange.sent(piece),
                Side::Answer => self.exchange.answered_with(piece),
            }
        }
        if self.ends.is_some() && (matches!(polled, Poll::Ready(None)) || self.body.is_end_stream()) {
            self.exchange.ended(Ending::Finished);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let is_end = self.body.is_end_stream();
        if is_end && self.ends.is_some() {
            self.exchange.ended(Ending::Finished);
        }
        is_end
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
