//! Requests that were seen are sent once more, as whoever asks for it: their own policy decides, their own address is told.
//! Credentials of the first visitor were never kept, so nobody acts in another's name.

use super::{Asked, Look};
use crate::admit::{Admission, Admitted};
use crate::live::Way;
use crate::tasks::Tasks;
use crate::web::{Body, body, empty};
use doorward_control::{ReplayError, ReplayWish, Seen};
use doorward_core::access::{Proof, Visitor};
use doorward_core::service::Entrance;
use doorward_core::web::WebProtocol;
use http::header::{CONTENT_LENGTH, FORWARDED, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

const LIMIT: Duration = Duration::from_secs(60);
/// What is heard of an answer; only its beginning is kept.
const MOST_ANSWER: usize = 1024 * 1024;
/// What told the target of the first visitor.
const OF_THE_FIRST: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-client-ip"];

/// Sends what is wished for, until the state is closed.
pub(crate) async fn serve(admission: Admission, tasks: Tasks) {
    let Some(mut wishes) = admission.control.inspections().take_replays() else { return };
    while let Some(wish) = wishes.recv().await {
        let admission = admission.clone();
        tasks.spawn(async move { take(&admission, wish).await });
    }
}

async fn take(admission: &Admission, wish: ReplayWish) {
    let ReplayWish { service, of, exchange, account, source, answer } = wish;
    let mut visitor = Visitor::new(source, Entrance::Web);
    visitor.proofs.push(Proof::Person(account));
    let seen = exchange.seen();
    let snapshot = admission.control.snapshot();
    let found = snapshot.service_record(service).and_then(|record| {
        let at = record.hosts.first()?;
        let way = Way::Web { host: at.host.clone(), prefix: at.prefix.clone() };
        Some((record.service.clone(), way))
    });
    let Some((service, way)) = found else {
        let _ = answer.send(Err(ReplayError::Gone));
        return;
    };
    let replayed = match admission.admit(service, &visitor, way) {
        Err(denied) => Err(ReplayError::NotLetIn(denied.word())),
        Ok(admitted) => {
            let cut = admitted.presence.cut_owned();
            tokio::select! {
                () = cut => Err(ReplayError::NotLetIn("cut")),
                sent = timeout(LIMIT, send(admission, admitted, &seen, of)) => {
                    sent.unwrap_or(Err(ReplayError::Failed("it did not answer within a minute".into())))
                }
            }
        }
    };
    let _ = answer.send(replayed);
}

async fn send(admission: &Admission, admitted: Admitted, seen: &Seen, of: u64) -> Result<(), ReplayError> {
    let request = request(seen, &admitted).ok_or(ReplayError::Partial("it cannot be written anew"))?;
    let asked =
        Asked { public: &seen.path, mount: seen.mount.as_ref(), protocol: WebProtocol::Http1, replay_of: Some(of) };
    let look = asked.take(&admission.control, &admitted, &request).ok_or(ReplayError::Gone)?;
    let request = look.listen(request);
    let failed = |why: String, look: Look| {
        look.failed(&why);
        Err(ReplayError::Failed(why))
    };
    let stream = match admission.open(&admitted, seen.mount.clone()).await {
        Ok(stream) => stream,
        Err(error) => return failed(error.to_string(), look),
    };
    let (mut sender, connection) = match http1::handshake::<_, Body>(TokioIo::new(stream)).await {
        Ok(spoken) => spoken,
        Err(error) => return failed(error.to_string(), look),
    };
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = match sender.send_request(request).await {
        Ok(response) => response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
        Err(error) => return failed(error.to_string(), look),
    };
    // However it ends: that stands in what is seen.
    let _ = Limited::new(look.answered(response).into_body(), MOST_ANSWER).collect().await;
    admitted.presence.ends("finished");
    Ok(())
}

/// As its target got it, but for what told of the first visitor and what was never kept.
fn request(seen: &Seen, admitted: &Admitted) -> Option<Request<Body>> {
    let sent = seen.request.body.as_ref().map(|body| body.bytes.clone()).filter(|bytes| !bytes.is_empty());
    let length = sent.as_ref().map(Vec::len);
    let mut request = Request::new(sent.map_or_else(empty, body));
    *request.method_mut() = Method::from_bytes(seen.method.as_bytes()).ok()?;
    *request.uri_mut() = seen.target_path.parse::<Uri>().ok()?;
    let source = admitted.permit.visitor().source();
    let headers = request.headers_mut();
    for (name, value, is_hidden) in &seen.request.headers {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        let is_framing = name == CONTENT_LENGTH || name == TRANSFER_ENCODING || name == FORWARDED;
        if *is_hidden || is_framing {
            continue;
        }
        let value = match OF_THE_FIRST.contains(&name.as_str()) {
            true => HeaderValue::try_from(source.to_string()),
            false => HeaderValue::try_from(value.as_str()),
        };
        headers.append(name, value.ok()?);
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Some(request)
}
