//! `[[dynamic-dns]]` of `gateway.toml`: names that are kept pointed at the addresses which lead here. Secrets are in files
//! or the environment, and read here.

use super::certificates::Algorithm;
use super::sign_in::line_of;
use crate::serve::home::NameSettings;
use data_encoding::BASE64;
use doorward_core::Secret;
use doorward_core::names::HostName;
use doorward_dyndns::{
    Dyndns2Settings, Method, Rfc2136Settings, Settings, TemplateSettings, Trust, TsigHash, Url, Way,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One of the three ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DynamicDnsFile {
    /// The domain unless said.
    pub name: Option<HostName>,
    /// Whether the A record is kept.
    pub ipv4: Option<bool>,
    /// Whether the AAAA record is kept.
    pub ipv6: Option<bool>,
    pub rfc2136: Option<Rfc2136File>,
    pub dyndns2: Option<Dyndns2File>,
    pub template: Option<TemplateFile>,
}

/// Dynamic updates of the zone's own name server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rfc2136File {
    /// As `192.0.2.53:53`.
    pub server: SocketAddr,
    pub zone: HostName,
    pub key_name: HostName,
    /// `hmac-sha256` unless said.
    pub algorithm: Option<Algorithm>,
    /// A file with the key in base64.
    pub key_file: Option<PathBuf>,
    pub key_env: Option<String>,
    pub ttl_seconds: Option<u32>,
}

/// The protocol of most providers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dyndns2File {
    pub url: String,
    pub user: String,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    pub ca_file: Option<PathBuf>,
}

/// A request of any shape.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TemplateFile {
    pub url: String,
    #[serde(default)]
    pub method: MethodFile,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub secret_file: Option<PathBuf>,
    pub secret_env: Option<String>,
    pub answer_contains: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodFile {
    #[default]
    Get,
    Post,
    Put,
    Patch,
}

const TTL: u32 = 60;

/// What a variable of the environment holds.
type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

pub(super) fn names(
    files: Vec<DynamicDnsFile>,
    domain: Option<&HostName>,
    directory: &Path,
    environment: Environment<'_>,
) -> Result<Vec<NameSettings>, String> {
    let numbered = files.into_iter().enumerate();
    let read = numbered.map(|(place, file)| {
        let Some(name) = file.name.clone().or(domain.cloned()) else {
            return Err("name: without a domain it must be said which name is kept".to_owned());
        };
        // What was told lies beside the store; it belongs to the settings under which it was told.
        let memory = directory.join(format!("dynamic-dns-{}.json", place + 1));
        file.settings(name.clone(), memory, environment).map_err(|why| format!("{name}: {why}"))
    });
    read.collect()
}

impl DynamicDnsFile {
    fn settings(self, name: HostName, memory: PathBuf, environment: Environment<'_>) -> Result<NameSettings, String> {
        let (ipv4, ipv6) = (self.ipv4.unwrap_or(true), self.ipv6.unwrap_or(true));
        if !ipv4 && !ipv6 {
            return Err("neither ipv4 nor ipv6 is kept: leave one of them, or take it out".to_owned());
        }
        let way = match (self.rfc2136, self.dyndns2, self.template) {
            (Some(way), None, None) => way.read(&name, environment).map(Way::Rfc2136),
            (None, Some(way), None) => way.read(environment).map(Way::Dyndns2),
            (None, None, Some(way)) => way.read(environment).map(Way::Template),
            (None, None, None) => Err("say how it is told: one of rfc2136, dyndns2 and template".to_owned()),
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err("only one of rfc2136, dyndns2 and template can tell it; write another [[dynamic-dns]]".to_owned())
            }
        };
        let settings = Settings { name, way: way?, memory };
        settings.check().map_err(|error| format!("template: {error}"))?;
        Ok(NameSettings { settings, ipv4, ipv6 })
    }
}

impl Rfc2136File {
    fn read(self, name: &HostName, environment: Environment<'_>) -> Result<Rfc2136Settings, String> {
        if !name.is_under(&self.zone) {
            return Err(format!("rfc2136.zone: the name is not in the zone {}", self.zone));
        }
        let key = secret("rfc2136.key", self.key_file.as_deref(), self.key_env.as_deref(), environment)?;
        let key = key.ok_or("rfc2136: name the key's file by key-file, or a variable by key-env")?;
        let bytes = BASE64.decode(key.expose().as_bytes()).ok().filter(|bytes| !bytes.is_empty());
        let algorithm = match self.algorithm.unwrap_or(Algorithm::HmacSha256) {
            Algorithm::HmacSha256 => TsigHash::Sha256,
            Algorithm::HmacSha384 => TsigHash::Sha384,
            Algorithm::HmacSha512 => TsigHash::Sha512,
        };
        Ok(Rfc2136Settings {
            server: self.server,
            zone: self.zone,
            key_name: self.key_name,
            algorithm,
            key: Secret::new(bytes.ok_or("rfc2136: the key is not in base64, as `tsig-keygen` prints it")?),
            ttl_seconds: self.ttl_seconds.unwrap_or(TTL),
        })
    }
}

impl Dyndns2File {
    fn read(self, environment: Environment<'_>) -> Result<Dyndns2Settings, String> {
        // A URL may hold a token: it is not repeated.
        let url = Url::parse(&self.url).map_err(|error| format!("dyndns2.url: {error}"))?;
        let password =
            secret("dyndns2.password", self.password_file.as_deref(), self.password_env.as_deref(), environment)?;
        let password =
            password.ok_or("dyndns2: name the password's file by password-file, or a variable by password-env")?;
        Ok(Dyndns2Settings { url, user: self.user, password, trust: trust(self.ca_file) })
    }
}

impl TemplateFile {
    fn read(self, environment: Environment<'_>) -> Result<TemplateSettings, String> {
        let of = |key: &'static str| move |error: doorward_dyndns::SettingsError| format!("template.{key}: {error}");
        let (url, headers, body) = (self.url, self.headers, self.body.unwrap_or_default());
        let held = secret("template.secret", self.secret_file.as_deref(), self.secret_env.as_deref(), environment)?;
        let mut texts = headers.values().chain([&url, &body]);
        if held.is_none() && texts.any(|text| text.contains("{secret}")) {
            return Err(
                "template: it mentions {secret}: name its file by secret-file, or a variable by secret-env".into()
            );
        }
        let method = match self.method {
            MethodFile::Get => Method::Get,
            MethodFile::Post => Method::Post,
            MethodFile::Put => Method::Put,
            MethodFile::Patch => Method::Patch,
        };
        let held = held.unwrap_or_else(|| Secret::new(String::new()));
        let mut made = TemplateSettings::new(&url, method, held, trust(self.ca_file)).map_err(of("url"))?;
        for (name, value) in &headers {
            made = made.with_header(name, value).map_err(of("headers"))?;
        }
        made = made.with_body(&body).map_err(of("body"))?;
        Ok(match &self.answer_contains {
            Some(text) => made.whose_answer_contains(text),
            None => made,
        })
    }
}

fn trust(file: Option<PathBuf>) -> Trust {
    file.map_or(Trust::System, Trust::File)
}

/// `key`: what comes before `-file` and `-env`.
fn secret(
    key: &str,
    file: Option<&Path>,
    variable: Option<&str>,
    environment: Environment<'_>,
) -> Result<Option<Secret<String>>, String> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(path), None) => line_of(path).map(Some).map_err(|why| format!("{key}-file: {why}")),
        (None, Some(name)) => {
            let held = environment(name).filter(|value| !value.is_empty()).map(Secret::new);
            held.map(Some).ok_or_else(|| format!("{key}-env: the variable {name} is not set"))
        }
        (Some(_), Some(_)) => Err(format!("{key}-file: say it or {key}-env, not both")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<NameSettings>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct File {
            dynamic_dns: Vec<DynamicDnsFile>,
        }
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let domain = HostName::parse("home.example.org").unwrap();
        let environment = |name: &str| (name == "HELD").then(|| "c2VjcmV0".to_owned());
        names(file.dynamic_dns, Some(&domain), Path::new("/tmp/x"), &environment)
    }

    const RFC2136: &str =
        "rfc2136 = { server = \"192.0.2.53:53\", zone = \"example.org\", key-name = \"k\", key-env = \"HELD\" }";

    #[test]
    fn names_are_read_with_secrets_from_elsewhere_and_none_is_shown() {
        let names = read(&format!(
            "[[dynamic-dns]]\n{RFC2136}\n\
             [[dynamic-dns]]\nname = \"other.example.net\"\nipv6 = false\n\
             dyndns2 = {{ url = \"https://update.example/nic\", user = \"u\", password-env = \"HELD\" }}\n\
             [[dynamic-dns]]\ntemplate = {{ url = \"https://x.example/?{{name}}={{ipv4}}\", method = \"PATCH\", \
             headers = {{ Authorization = \"Bearer {{secret}}\" }}, secret-env = \"HELD\", answer-contains = \"OK\" }}\n"
        ));
        let names = names.unwrap();
        let shown: Vec<_> = names.iter().map(|name| (name.settings.name.to_string(), name.ipv4, name.ipv6)).collect();
        let home = || "home.example.org".to_owned();
        assert_eq!(shown, [(home(), true, true), ("other.example.net".to_owned(), true, false), (home(), true, true)]);
        let Way::Rfc2136(way) = &names[0].settings.way else { panic!("it is RFC 2136") };
        assert_eq!((way.key.expose().as_slice(), way.ttl_seconds), (&b"secret"[..], 60));
        assert_ne!(names[0].settings.memory, names[2].settings.memory, "each remembers by itself");
        assert!(!format!("{names:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, part) in [
            ("".to_owned(), "home.example.org: say how it is told"),
            (format!("ipv4 = false\nipv6 = false\n{RFC2136}"), "neither ipv4 nor ipv6"),
            (format!("name = \"a.example.net\"\n{RFC2136}"), "a.example.net: rfc2136.zone: the name is not in"),
            (RFC2136.replace("HELD", "OTHER"), "rfc2136.key-env: the variable OTHER is not set"),
            (RFC2136.replace("key-env = \"HELD\"", "key-file = \"/none\""), "rfc2136.key-file: /none cannot be read"),
            (RFC2136.replace(", key-env = \"HELD\"", ""), "name the key's file"),
            (
                "dyndns2 = { url = \"http://u.example/\", user = \"u\", password-env = \"HELD\" }".to_owned(),
                "dyndns2.url: it does not begin with https://",
            ),
            (
                format!(
                    "{RFC2136}\ndyndns2 = {{ url = \"https://u.example/\", user = \"u\", password-env = \"HELD\" }}"
                ),
                "only one of",
            ),
            ("template = { url = \"https://x.example/?k={secret}&{ipv4}\" }".to_owned(), "it mentions {secret}"),
            ("template = { url = \"https://x.example/\" }".to_owned(), "template: neither {ipv4} nor {ipv6}"),
            ("template = { url = \"https://x.example/{ip}\" }".to_owned(), "template.url: {ip} is not known"),
            ("template = { url = \"https://x.example/{ipv4}\", method = \"DELETE\" }".to_owned(), "unknown variant"),
        ] {
            let error = read(&format!("[[dynamic-dns]]\n{text}\n")).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
