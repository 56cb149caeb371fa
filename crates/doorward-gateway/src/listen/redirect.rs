//! Port 80 beside HTTPS: authorities find their proofs there (RFC 8555, 8.3), and everybody else is sent to HTTPS,
//! whatever the name, so that it tells nobody which names there are.

use crate::certificates::challenges::{ACME_PATH, Challenges};
use crate::listen::accept;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::Strangers;
use crate::tasks::Tasks;
use crate::web::request::{check_shape, host_of};
use crate::web::root::{InUse, root_for};
use crate::web::{Body, body, page};
use doorward_control::Control;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::debug;

#[derive(Clone)]
pub(crate) struct RedirectEntrance {
    pub(crate) challenges: Arc<Challenges>,
    pub(crate) own_authority: InUse,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) tasks: Tasks,
    /// Knows where visitors find HTTPS.
    pub(crate) control: Control,
}

/// One question and its answer.
const LIMIT: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 16 * 1024;

impl RedirectEntrance {
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            let (socket, peer) = accept(&listener).await;
            // No room for this source: dropping the socket closes it.
            let Some(places) = self.strangers.enter(peer.ip()) else { continue };
            let entrance = self.clone();
            self.tasks.spawn(async move {
                entrance.take(socket).await;
                drop(places);
            });
        }
    }

    async fn take(self, socket: TcpStream) {
        let service = service_fn(|request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(LIMIT).keep_alive(false).max_buf_size(MAX_HEAD);
        match timeout(LIMIT, http.serve_connection(TokioIo::new(VisitorSocket::new(socket)), service)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a visitor of port 80 ended early"),
            Err(_) => debug!("a visitor of port 80 took too long"),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        // It can be fetched by address, too, of whatever kind.
        match root_for(request, &self.own_authority) {
            Some(root) => root,
            None => answer(&self.challenges, self.control.site().web.port, request),
        }
    }
}

fn answer<B>(challenges: &Challenges, https_port: u16, request: &Request<B>) -> Response<Body> {
    let headers = request.headers();
    let host = match check_shape(request).and_then(|()| host_of(request)) {
        Ok(host) => host,
        Err(why) => return page::malformed(headers, why.0),
    };
    let path = request.uri().path();
    if path.starts_with(ACME_PATH) {
        return challenges.text_at(path).map_or_else(|| page::nothing_here(headers), proof);
    }
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
    let mut response = Response::new(body(""));
    match HeaderValue::from_str(&format!("https://{host}{port}{rest}")) {
        Ok(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Err(_) => page::malformed(headers, "its path cannot be passed on"),
    }
}

/// What an authority asked to see.
pub(crate) fn proof(text: String) -> Response<Body> {
    let mut response = Response::new(body(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HOST;

    fn ask(challenges: &Challenges, port: u16, host: &str, path: &str) -> (StatusCode, Option<String>) {
        let request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
        let answer = answer(challenges, port, &request);
        let location = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        (answer.status(), location)
    }

    #[test]
    fn everything_but_proofs_is_sent_to_https() {
        let challenges = Arc::<Challenges>::default();
        let to = |location: &str| (StatusCode::PERMANENT_REDIRECT, Some(location.to_owned()));
        assert_eq!(ask(&challenges, 443, "A.gw.net:80", "/x?y=1"), to("https://a.gw.net/x?y=1"));
        assert_eq!(ask(&challenges, 8443, "a.gw.net", "/"), to("https://a.gw.net:8443/"));
        let _shown = challenges.present_text("t", "t.k");
        assert_eq!(ask(&challenges, 443, "a.gw.net", "/.well-known/acme-challenge/t"), (StatusCode::OK, None));
        assert_eq!(ask(&challenges, 443, "a.gw.net", "/.well-known/acme-challenge/u"), (StatusCode::NOT_FOUND, None));
    }

    #[test]
    fn a_host_that_is_none_leads_nowhere() {
        let challenges = Challenges::default();
        for host in ["user@a", "a b", "a/b"] {
            assert_eq!(ask(&challenges, 443, host, "/").0, StatusCode::BAD_REQUEST, "{host}");
        }
    }
}
