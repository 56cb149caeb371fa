//! Services' hosts and who is signed in: the way to the portal, the way back, and the cookie that remains. What the codes
//! and passes are is told in `doorward_control::handover`.

use super::credentials::cookie;
use super::forward::Web;
use super::{Body, empty, page};
use data_encoding::BASE64URL_NOPAD;
use doorward_control::{Bearer, Challenge};
use doorward_core::access::{Proof, Visitor, Who};
use doorward_core::names::HostName;
use doorward_core::service::Service;
use doorward_core::web::LocalPath;
use doorward_core::{LoginId, Secret, ServiceId};
use http::header::{ACCEPT, CACHE_CONTROL, HOST, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use rand::RngExt;
use std::net::IpAddr;

/// Where the browser comes back with its code.
pub(crate) const ENTER_PATH: &str = "/.well-known/doorward/enter";
/// From where a browser is sent to the portal, whoever it is: somebody who used a share link comes this way.
pub(crate) const START_PATH: &str = "/.well-known/doorward/start";
/// Where the portal gives codes.
const DOOR_PATH: &str = "/door";
/// What proves that whoever comes back is the browser that went. For this host as a whole: several tabs may be on their way.
const STATE_COOKIE: &str = "__Host-doorward-state";
const STATE_BYTES: usize = 32;
/// Signing in may take a while: a second device, a password that has to be found.
const STATE_SECONDS: i64 = 1800;

/// Of a service that stands under a path of a shared host, too: each has a cookie of its own.
fn pass_cookie(service: ServiceId) -> String {
    format!("__Host-doorward-{service}")
}

/// Beside it, so that whoever signs in later is not held to what a link allows.
fn share_cookie(service: ServiceId) -> String {
    format!("__Host-doorward-share-{service}")
}

/// Whether a browser goes to a page, rather than a program or a script asking for something.
pub(super) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_get = method == Method::GET || method == Method::HEAD;
    match text("sec-fetch-mode") {
        Some(mode) => is_get && mode == "navigate",
        None => is_get && text(ACCEPT.as_str()).is_some_and(|kinds| kinds.contains("text/html")),
    }
}

/// Whether a script of a page asks: browsers say so of everything but navigations.
pub(super) fn is_script(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate")
}

impl Web {
    /// What this browser was given when it came back from the portal: by a share link, or because the service is for people.
    pub(super) fn recognise(&self, service: &Service, host: &HostName, headers: &HeaderMap, visitor: &mut Visitor) {
        let shared = cookie(headers, &share_cookie(service.id));
        let used = shared.and_then(|pass| self.admission.control.use_by_pass(&pass, service.id, host));
        visitor.proofs.extend(used.map(Proof::Share));
        match &service.policy.who {
            Who::People(_) => {}
            Who::Nobody | Who::Public | Who::Password(_) | Who::Senders => return,
        }
        let control = &self.admission.control;
        let pass = cookie(headers, &pass_cookie(service.id));
        let login = pass.and_then(|pass| control.login_by_pass(&pass, service.id, host));
        if let Some(login) = login {
            control.login_seen(login, Timestamp::now());
            visitor.proofs.push(Proof::Login(login));
        }
    }

    /// Whether whoever came by this login is signed in still.
    pub(super) fn is_signed_in(&self, visitor: &Visitor) -> bool {
        let (snapshot, now) = (self.admission.control.snapshot(), Timestamp::now());
        let counts = |id: LoginId| doorward_core::access::Facts::login(&*snapshot, id).is_some_and(|l| l.counts(now));
        visitor.logins().any(counts)
    }

    /// For somebody who is not signed in, where signing in is what it takes. Nothing is written down of them: this is how every
    /// such visit begins.
    pub(super) fn to_sign_in<B>(
        &self,
        service: &Service,
        request: &Request<B>,
        host: &HostName,
        source: IpAddr,
    ) -> Option<Response<Body>> {
        match &service.policy.who {
            Who::People(_) => self.to_portal(request, host, source),
            Who::Nobody | Who::Public | Who::Password(_) | Who::Senders => None,
        }
    }

    /// The way to the portal. The same for every name, whatever it leads to. `None`: nobody signs in here, or this is no
    /// browser on its way to a page.
    pub(super) fn to_portal<B>(&self, request: &Request<B>, host: &HostName, source: IpAddr) -> Option<Response<Body>> {
        self.to_portal_and_then(request, host, source, request.uri().path_and_query().map_or("/", |path| path.as_str()))
    }

    /// `to`: where it goes from there.
    fn to_portal_and_then<B>(
        &self,
        request: &Request<B>,
        host: &HostName,
        source: IpAddr,
        to: &str,
    ) -> Option<Response<Body>> {
        let headers = request.headers();
        let site = self.admission.control.site();
        let portal = site.portal.as_ref().filter(|_| self.portal.is_some() && self.shows_portal(source))?;
        let is_address = host.as_str().parse::<std::net::Ipv4Addr>().is_ok();
        if is_address || !is_navigation(request.method(), headers) {
            return None;
        }
        let held = cookie(headers, STATE_COOKIE).filter(is_state);
        let (state, is_new) = held.map_or_else(|| (new_state(), true), |state| (state, false));
        let url = format!(
            "{home}{DOOR_PATH}?host={host}&challenge={challenge}&to={to}",
            home = home(site.web.is_https, portal, request),
            challenge = Challenge::of(&state),
            to = encoded(to),
        );
        let cookies = is_new.then(|| set(STATE_COOKIE, &state, STATE_SECONDS));
        Some(redirect(&url, cookies))
    }

    /// On the way from a share link to what it leads to. The same for every name.
    pub(super) fn start<B>(&self, request: &Request<B>, host: &HostName, source: IpAddr) -> Response<Body> {
        let to = Asked::of(request.uri().query().unwrap_or_default()).to.unwrap_or_else(LocalPath::root);
        let sent = self.to_portal_and_then(request, host, source, to.as_str());
        sent.unwrap_or_else(|| page::nothing_here(request.headers()))
    }

    /// What a browser is told whose share link is over; it forgets its pass, and is a stranger from then on.
    pub(super) fn share_over(headers: &HeaderMap, service: ServiceId) -> Response<Body> {
        let mut response = page::share_over(headers);
        response.headers_mut().insert(SET_COOKIE, set(&share_cookie(service), &Secret::new(String::new()), 0));
        response
    }

    /// Where the portal is for whoever sent this request.
    pub(super) fn portal_home<B>(&self, request: &Request<B>) -> String {
        let site = self.admission.control.site();
        site.portal.as_ref().map(|portal| home(site.web.is_https, portal, request)).unwrap_or_default()
    }

    /// Back from the portal, with a code.
    pub(super) fn enter<B>(&self, request: &Request<B>, host: &HostName) -> Response<Body> {
        let headers = request.headers();
        if request.method() != Method::GET {
            return page::nothing_here(headers);
        }
        let asked = Asked::of(request.uri().query().unwrap_or_default());
        let to = asked.to.unwrap_or_else(LocalPath::root);
        let (control, now) = (&self.admission.control, Timestamp::now());
        let state = cookie(headers, STATE_COOKIE).filter(is_state);
        let handover = asked.code.and_then(|code| control.redeem(&code, host, state.as_ref(), now));
        let pass = handover.and_then(|handover| {
            let service = handover.service;
            match handover.bearer {
                Bearer::Login(login) => {
                    let (pass, login) = control.pass(login, service, host)?;
                    Some((pass_cookie(service), pass, login.until))
                }
                Bearer::Share(used) => {
                    let (pass, until) = control.share_pass(used, service, host)?;
                    Some((share_cookie(service), pass, until))
                }
            }
        });
        let Some((name, pass, until)) = pass else { return page::not_signed_in(headers, &to) };
        redirect(to.as_str(), Some(set(&name, &pass, until.duration_since(now).as_secs().max(0))))
    }
}

/// What came back from the portal.
#[derive(Default)]
struct Asked {
    code: Option<Secret<String>>,
    to: Option<LocalPath>,
}

impl Asked {
    fn of(query: &str) -> Self {
        let mut asked = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "code" => asked.code = Some(Secret::new(value.into_owned())),
                "to" => asked.to = LocalPath::parse(&value).ok(),
                _ => {}
            }
        }
        asked
    }
}

fn new_state() -> Secret<String> {
    let mut bytes = [0; STATE_BYTES];
    rand::rng().fill(&mut bytes);
    Secret::new(BASE64URL_NOPAD.encode(&bytes))
}

fn is_state(state: &Secret<String>) -> bool {
    BASE64URL_NOPAD.decode(state.expose().as_bytes()).is_ok_and(|bytes| bytes.len() == STATE_BYTES)
}

fn home<B>(is_https: bool, portal: &HostName, request: &Request<B>) -> String {
    format!("{}://{portal}{}", if is_https { "https" } else { "http" }, port_of(request))
}

/// `:8443` where the visitor's own URL has a port: the portal is at the same one.
fn port_of<B>(request: &Request<B>) -> String {
    let from_header = request.headers().get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    let authority: Option<http::uri::Authority> = request.uri().authority().cloned().or(from_header);
    authority.and_then(|authority| authority.port_u16()).map(|port| format!(":{port}")).unwrap_or_default()
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn set(name: &str, value: &Secret<String>, seconds: i64) -> HeaderValue {
    let text = format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}", value.expose());
    let mut value = HeaderValue::try_from(text).expect("our own values are letters, digits and dots");
    value.set_sensitive(true);
    value
}

fn redirect(to: &str, cookie: Option<HeaderValue>) -> Response<Body> {
    let Ok(location) = HeaderValue::try_from(to) else {
        return page::malformed(&HeaderMap::new(), "its path is no path");
    };
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    #[test]
    fn only_browsers_on_their_way_to_a_page_are_sent_to_sign_in() {
        let table: &[(Method, Headers, bool)] = &[
            (Method::GET, &[("accept", "text/html,*/*;q=0.8")], true),
            (Method::HEAD, &[("accept", "text/html")], true),
            (Method::GET, &[("accept", "*/*")], false),
            (Method::GET, &[], false),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-mode", "cors")], false),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-mode", "websocket")], false),
            (Method::GET, &[("sec-fetch-mode", "navigate")], true),
            (Method::POST, &[("accept", "text/html"), ("sec-fetch-mode", "navigate")], false),
        ];
        for (method, pairs, expected) in table {
            let pair = |(name, value): &(&str, &'static str)| {
                (http::HeaderName::try_from(*name).unwrap(), HeaderValue::from_static(value))
            };
            assert_eq!(is_navigation(method, &pairs.iter().map(pair).collect()), *expected, "{method} {pairs:?}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_way_back() {
        let to = |query: &str| Asked::of(query).to.map(|to| to.to_string());
        assert_eq!(to("code=x&to=%2Fa%3Fb%3D%2F%2Fc"), Some("/a?b=//c".to_owned()));
        for bad in [
            "",
            "to=",
            "to=//evil.test",
            "to=%2F%2Fevil.test",
            "to=https://evil.test",
            "to=%2F%5Cevil.test",
            "to=%2F%0d%0aa",
        ] {
            assert_eq!(to(bad), None, "{bad}");
        }
    }
}
