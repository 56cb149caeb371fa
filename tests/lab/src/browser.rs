//! As much of a browser as signing in takes: cookies by the rules of their names, and navigations that go where they are sent.

use crate::visitor::{Answer, full, request, send};
use http::{HeaderMap, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

pub struct Browser {
    gateway: SocketAddr,
    jars: HashMap<String, BTreeMap<String, String>>,
    /// More headers for every request.
    pub headers: HeaderMap,
}

/// Where an answer leads: host and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub path: String,
}

impl Place {
    pub fn new(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), path: path.to_owned() }
    }

    /// A value of its query, decoded.
    pub fn asked(&self, key: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }
}

impl Browser {
    /// `gateway`: where every name leads.
    pub fn new(gateway: SocketAddr) -> Self {
        Self { gateway, jars: HashMap::new(), headers: HeaderMap::new() }
    }

    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        self.jars.get(host)?.get(name).cloned()
    }

    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.jars.entry(host.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// All that it would send to this host.
    pub fn cookies(&self, host: &str) -> String {
        let jar = self.jars.get(host).into_iter().flatten();
        jar.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// A navigation that stays where it is.
    pub async fn go(&mut self, place: &Place) -> Answer {
        let asked = request(&place.host, &place.path).header("accept", "text/html,*/*;q=0.8");
        self.send(&place.host, asked.header("sec-fetch-mode", "navigate"), "").await
    }

    /// A form of a page of this very host.
    pub async fn press(&mut self, place: &Place, form: &str) -> Answer {
        let asked = request(&place.host, &place.path).method("POST").header("accept", "text/html");
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        self.send(&place.host, asked.header("sec-fetch-site", "same-origin"), form).await
    }

    /// A script of a page of this host.
    pub async fn fetch(&mut self, place: &Place) -> Answer {
        let asked = request(&place.host, &place.path).header("accept", "*/*").header("sec-fetch-mode", "cors");
        self.send(&place.host, asked.header("sec-fetch-site", "same-origin"), "").await
    }

    async fn send(&mut self, host: &str, mut asked: http::request::Builder, form: &str) -> Answer {
        let cookies = self.cookies(host);
        if !cookies.is_empty() {
            asked = asked.header("cookie", cookies);
        }
        for (name, value) in &self.headers {
            asked = asked.header(name, value);
        }
        let answer = send(self.gateway, asked.body(full(form.to_owned())).unwrap()).await;
        self.keep(host, &answer);
        answer
    }

    /// To where the redirects end.
    pub async fn follow(&mut self, from: &Place) -> (Place, Answer) {
        let mut place = from.clone();
        for _ in 0..10 {
            let answer = self.go(&place).await;
            match leads_to(&place, &answer) {
                Some(next) => place = next,
                None => return (place, answer),
            }
        }
        panic!("{from:?} goes round for ever");
    }

    fn keep(&mut self, host: &str, answer: &Answer) {
        for value in answer.headers.get_all("set-cookie") {
            let mut parts = value.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: Vec<_> = parts.collect();
            let has = |attribute| attributes.contains(&attribute);
            // RFC 6265bis, 4.1.3: otherwise browsers do not take it.
            let is_host_only = has("Secure") && has("Path=/") && !attributes.iter().any(|a| a.starts_with("Domain"));
            assert!(!name.starts_with("__Host-") || is_host_only, "{value:?}");
            assert!(!name.starts_with("__Host-doorward") || (has("HttpOnly") && has("SameSite=Lax")), "{name}");
            let jar = self.jars.entry(host.to_owned()).or_default();
            if has("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// `None`: it is no redirect.
pub fn leads_to(from: &Place, answer: &Answer) -> Option<Place> {
    if answer.status != StatusCode::SEE_OTHER {
        return None;
    }
    let location = answer.headers["location"].to_str().unwrap();
    Some(match location.strip_prefix("https://") {
        Some(rest) => {
            let (host, path) = rest.split_once('/').unwrap();
            Place::new(host, &format!("/{path}"))
        }
        None => Place::new(&from.host, location),
    })
}
