//! `[[alert]]` of `gateway.toml`: who is told what. Secrets are in files, and read here.

use doorward_alerts::{Destination, Encryption, Language, Mail, Ntfy, Trust, Url, Way, Webhook};
use doorward_core::Secret;
use doorward_core::notice::NoticeKind;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlertFile {
    /// What it is called in `doorward status`; its kind unless said.
    pub name: Option<String>,
    /// All unless said.
    pub notices: Option<BTreeSet<NoticeKind>>,
    #[serde(default)]
    pub language: Language,
    pub webhook: Option<WebhookFile>,
    pub ntfy: Option<NtfyFile>,
    pub mail: Option<MailFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebhookFile {
    pub url: String,
    pub secret_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NtfyFile {
    pub url: String,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MailFile {
    /// With its port, if that is another than usual.
    pub server: String,
    #[serde(default)]
    pub encryption: EncryptionFile,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncryptionFile {
    #[default]
    StartTls,
    Tls,
    None,
}

pub(super) fn destinations(files: Vec<AlertFile>) -> Result<Vec<Destination>, String> {
    let mut names = BTreeSet::new();
    let mut destinations = Vec::new();
    for file in files {
        let destination = file.destination()?;
        if !names.insert(destination.name.clone()) {
            return Err(format!("two are called {:?}: give each a name of its own", destination.name));
        }
        destinations.push(destination);
    }
    Ok(destinations)
}

impl AlertFile {
    fn destination(self) -> Result<Destination, String> {
        let Self { name, notices, language, webhook, ntfy, mail } = self;
        let way = match (webhook, ntfy, mail) {
            (Some(webhook), None, None) => Way::Webhook(webhook.read()?),
            (None, Some(ntfy), None) => Way::Ntfy(ntfy.read()?),
            (None, None, Some(mail)) => Way::Mail(mail.read()?),
            _ => return Err("each says one of webhook, ntfy and mail".to_owned()),
        };
        let name = name.unwrap_or_else(|| way.word().to_owned());
        Ok(Destination { name, notices, language, way })
    }
}

impl WebhookFile {
    fn read(self) -> Result<Webhook, String> {
        Ok(Webhook { url: url(&self.url)?, secret: secret(self.secret_file.as_deref())?, trust: trust(self.ca_file) })
    }
}

impl NtfyFile {
    fn read(self) -> Result<Ntfy, String> {
        Ok(Ntfy { url: url(&self.url)?, token: secret(self.token_file.as_deref())?, trust: trust(self.ca_file) })
    }
}

impl MailFile {
    fn read(self) -> Result<Mail, String> {
        let (encryption, usual_port) = match self.encryption {
            EncryptionFile::StartTls => (Encryption::StartTls, 587),
            EncryptionFile::Tls => (Encryption::Tls, 465),
            EncryptionFile::None => (Encryption::Local, 25),
        };
        let login = match (self.user, secret(self.password_file.as_deref())?) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err("user and password-file belong together".to_owned()),
        };
        let server = server(&self.server, usual_port)?;
        Mail::new(server, encryption, login, &self.from, &self.to, trust(self.ca_file)).map_err(|why| why.to_string())
    }
}

/// The text itself may be a secret: it is not repeated.
fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|why| format!("url: {why}"))
}

fn trust(file: Option<PathBuf>) -> Trust {
    file.map_or(Trust::System, Trust::File)
}

/// `host`, `host:port`, `[::1]:port`.
fn server(text: &str, usual_port: u16) -> Result<(String, u16), String> {
    let refuse = || format!("server: {text:?} is neither a host nor host:port");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| refuse())?),
        None => (text, usual_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(refuse()) } else { Ok((host.to_owned(), port)) }
}

fn secret(path: Option<&Path>) -> Result<Option<Secret<String>>, String> {
    let Some(path) = path else { return Ok(None) };
    let text = fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let text = Secret::new(text);
    let line = text.expose().trim();
    if line.is_empty() || line.contains(['\r', '\n']) {
        return Err(format!("{} does not hold one line", path.display()));
    }
    Ok(Some(Secret::new(line.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Destination>, String> {
        #[derive(Deserialize)]
        struct File {
            alert: Vec<AlertFile>,
        }
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        destinations(file.alert)
    }

    #[test]
    fn destinations_are_read_with_secrets_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "s3cret\n").unwrap();
        let text = format!(
            "[[alert]]\nnotices = [\"device-offline\", \"budget\"]\nlanguage = \"de\"\nwebhook = {{ url = \"http://10.0.0.1/a\", secret-file = {path:?} }}\n\
             [[alert]]\nname = \"phone\"\nntfy = {{ url = \"https://ntfy.example.org/t\" }}\n\
             [[alert]]\nmail = {{ server = \"smtp.example.org\", user = \"u\", password-file = {path:?}, from = \"a@example.org\", to = [\"b@example.org\"] }}\n"
        );
        let read = read(&text).unwrap();
        let names: Vec<_> = read.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["webhook", "phone", "mail"]);
        let Way::Webhook(webhook) = &read[0].way else { panic!("{read:?}") };
        assert_eq!(webhook.secret, Some(Secret::new("s3cret".to_owned())));
        assert_eq!(read[0].notices.as_ref().unwrap().len(), 2);
        assert!(!format!("{read:?}").contains("s3cret"), "nothing secret is shown");
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_no_secret_is_repeated() {
        for (text, why) in [
            ("[[alert]]\nname = \"a\"", "one of webhook, ntfy and mail"),
            ("[[alert]]\nwebhook = { url = \"http://a\" }\nntfy = { url = \"http://a\" }", "one of webhook, ntfy"),
            (
                "[[alert]]\nwebhook = { url = \"http://a\" }\n[[alert]]\nwebhook = { url = \"http://b\" }",
                "two are called",
            ),
            ("[[alert]]\nwebhook = { url = \"https://u:hush@a/\" }", "name a file"),
            ("[[alert]]\nwebhook = { url = \"http://a\", secret = \"x\" }", "unknown field"),
            ("[[alert]]\nwebhook = { url = \"http://a\", secret-file = \"/none\" }", "/none cannot be read"),
            ("[[alert]]\nnotices = [\"zz\"]\nwebhook = { url = \"http://a\" }", "unknown variant"),
            ("[[alert]]\nmail = { server = \"a:x\", from = \"a@b.c\", to = [\"a@b.c\"] }", "neither a host"),
            (
                "[[alert]]\nmail = { server = \"a\", user = \"u\", from = \"a@b.c\", to = [\"a@b.c\"] }",
                "belong together",
            ),
            (
                "[[alert]]\nmail = { server = \"a.org\", encryption = \"none\", from = \"a@b.c\", to = [\"a@b.c\"] }",
                "without TLS",
            ),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("hush"), "{text}: {refused}");
        }
    }
}
