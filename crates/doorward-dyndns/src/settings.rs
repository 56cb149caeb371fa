//! Which name is kept, and by which way.

use crate::https::{Trust, Url};
use crate::rfc2136::TsigHash;
use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::names::HostName;
use doorward_core::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Clone, Debug)]
pub struct Settings {
    pub name: HostName,
    pub way: Way,
    /// What was told last is kept there.
    pub memory: PathBuf,
}

#[derive(Clone, Debug)]
pub enum Way {
    Rfc2136(Rfc2136Settings),
    Dyndns2(Dyndns2Settings),
    Template(TemplateSettings),
}

/// The zone's own primary server takes updates.
#[derive(Clone, Debug)]
pub struct Rfc2136Settings {
    pub server: SocketAddr,
    pub zone: HostName,
    pub key_name: HostName,
    pub algorithm: TsigHash,
    /// As bytes, not in Base64.
    pub key: Secret<Vec<u8>>,
    pub ttl_seconds: u32,
}

#[derive(Clone, Debug)]
pub struct Dyndns2Settings {
    /// As `https://dynupdate.no-ip.com/nic/update`, without a question mark.
    pub url: Url,
    pub user: String,
    pub password: Secret<String>,
    pub trust: Trust,
}

/// A request of any shape. `{name}`, `{ipv4}`, `{ipv6}` and `{secret}` are put in: into the URL percent-encoded, into
/// headers and body as they are.
#[derive(Clone, Debug)]
pub struct TemplateSettings {
    pub(crate) url: String,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) secret: Secret<String>,
    pub(crate) answer_contains: Option<String>,
    pub(crate) trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    #[error("the URL is unusable: {0}")]
    Url(#[from] crate::https::UrlError),
    #[error("neither {{ipv4}} nor {{ipv6}} is in the URL, a header or the body: nothing would be told")]
    NoAddress,
    #[error("{{{0}}} is not known; there are {{name}}, {{ipv4}}, {{ipv6}} and {{secret}}")]
    UnknownPlace(String),
    #[error("{{{0}}} cannot be part of the host")]
    InHost(String),
    #[error("the header {0} cannot be sent")]
    Header(String),
}

impl TemplateSettings {
    pub fn new(url: &str, method: Method, secret: Secret<String>, trust: Trust) -> Result<Self, SettingsError> {
        let settings = Self {
            url: url.to_owned(),
            method,
            headers: Vec::new(),
            body: String::new(),
            secret,
            answer_contains: None,
            trust,
        };
        // What is put in never decides where a request goes.
        let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        if let Some(place) = places(&host).first() {
            return Err(SettingsError::InHost((*place).to_owned()));
        }
        Url::parse(&host)?;
        settings.check_places(url)?;
        Ok(settings)
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, SettingsError> {
        let refuse = || SettingsError::Header(name.to_owned());
        http::HeaderName::try_from(name).map_err(|_| refuse())?;
        http::HeaderValue::try_from(value).map_err(|_| refuse())?;
        self.check_places(value)?;
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    pub fn with_body(mut self, body: &str) -> Result<Self, SettingsError> {
        self.check_places(body)?;
        body.clone_into(&mut self.body);
        Ok(self)
    }

    /// Without this text in it an answer of status 200 counts as a refusal.
    pub fn whose_answer_contains(mut self, text: &str) -> Self {
        self.answer_contains = Some(text.to_owned());
        self
    }

    fn check_places(&self, text: &str) -> Result<(), SettingsError> {
        let unknown = places(text).into_iter().find(|place| !["name", "ipv4", "ipv6", "secret"].contains(place));
        unknown.map_or(Ok(()), |place| Err(SettingsError::UnknownPlace(place.to_owned())))
    }

    fn mentions(&self, place: &str) -> bool {
        let values = self.headers.iter().map(|(_, value)| value);
        [&self.url, &self.body].into_iter().chain(values).any(|text| places(text).contains(&place))
    }
}

/// What stands between braces, as far as it is a word. JSON's braces hold no bare words.
pub(crate) fn places(text: &str) -> Vec<&str> {
    let pieces = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    pieces.map(|(word, _)| word).filter(is_word).collect()
}

impl Settings {
    /// Which families the way tells: IPv4, IPv6.
    pub(crate) fn families(&self) -> (bool, bool) {
        match &self.way {
            Way::Rfc2136(_) | Way::Dyndns2(_) => (true, true),
            Way::Template(template) => (template.mentions("ipv4"), template.mentions("ipv6")),
        }
    }

    pub fn check(&self) -> Result<(), SettingsError> {
        if self.families() == (false, false) { Err(SettingsError::NoAddress) } else { Ok(()) }
    }

    /// Tells these settings from others, and of the secret only whether it is another.
    pub(crate) fn mark(&self) -> String {
        let (place, secret) = match &self.way {
            Way::Rfc2136(way) => {
                (format!("rfc2136 {} {} {}", way.server, way.zone, way.key_name), way.key.expose().as_slice())
            }
            Way::Dyndns2(way) => (format!("dyndns2 {:?} {}", way.url, way.user), way.password.expose().as_bytes()),
            Way::Template(way) => (format!("template {} {}", way.url, way.body), way.secret.expose().as_bytes()),
        };
        // Three bytes of a digest: a new secret is noticed, an old one is not found by trying.
        let short = data_encoding::HEXLOWER.encode(&digest(&SHA256, secret).as_ref()[..3]);
        format!("{} {place} {short}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(url: &str) -> Result<TemplateSettings, SettingsError> {
        TemplateSettings::new(url, Method::Get, Secret::new("hidden".to_owned()), Trust::System)
    }

    fn settings(way: TemplateSettings) -> Settings {
        let name = HostName::parse("home.example.org").unwrap();
        Settings { name, way: Way::Template(way), memory: PathBuf::from("unused") }
    }

    #[test]
    fn a_template_tells_what_it_mentions() {
        for (url, body, expected) in [
            ("https://x.test/?ip={ipv4}&ip6={ipv6}", "", (true, true)),
            ("https://x.test/?ip={ipv4}", "", (true, false)),
            ("https://x.test/", r#"{"content":"{ipv6}"}"#, (false, true)),
        ] {
            let made = settings(template(url).unwrap().with_body(body).unwrap());
            assert_eq!((made.families(), made.check()), (expected, Ok(())));
        }
        assert_eq!(settings(template("https://x.test/").unwrap()).check(), Err(SettingsError::NoAddress));
    }

    #[test]
    fn what_is_put_in_decides_nothing() {
        for (url, error) in [
            ("https://{name}/x?{ipv4}", SettingsError::InHost("name".to_owned())),
            ("https://x.test/{ip}", SettingsError::UnknownPlace("ip".to_owned())),
            ("http://x.test/{ipv4}", SettingsError::Url(crate::https::UrlError::Scheme)),
            ("https:///{ipv4}", SettingsError::Url(crate::https::UrlError::Malformed)),
        ] {
            assert_eq!(template(url).err(), Some(error), "{url}");
        }
        let made = template("https://x.test/{ipv4}").unwrap();
        assert!(made.clone().with_header("X\r\nY", "z").is_err());
        assert!(made.with_header("X", "z\r\nHost: evil").is_err());
    }

    #[test]
    fn another_secret_is_another_mark_and_none_is_shown() {
        let one = settings(template("https://x.test/{ipv4}").unwrap());
        let mut other = one.clone();
        assert_eq!(one.mark(), other.mark());
        let Way::Template(way) = &mut other.way else { panic!("it is a template") };
        way.secret = Secret::new("another".to_owned());
        assert_ne!(one.mark(), other.mark());
        assert!(!one.mark().contains("hidden") && !format!("{one:?}").contains("hidden"));
    }
}
