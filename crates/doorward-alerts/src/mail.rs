//! E-mail by SMTP (RFC 5321), encrypted from the start or by STARTTLS. Never in the clear, but to this machine.

use crate::Trust;
use crate::post::AttemptError;
use crate::texts::Message;
use doorward_control::Alert;
use doorward_core::Secret;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor};
use std::fs;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    host: String,
    port: u16,
    encryption: Encryption,
    login: Option<(String, Secret<String>)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte, usually port 465 (RFC 8314).
    Tls,
    /// Begun by a command, without which nothing is sent; usually port 587.
    StartTls,
    /// None: only to a server on this machine.
    Local,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum MailError {
    #[error("\"{0}\" is no mail address")]
    Address(String),
    #[error("it says to nobody")]
    Nobody,
    #[error("without TLS it may go to this machine alone, and {0} is another")]
    InTheClear(String),
}

/// For each step.
const LIMIT: Duration = Duration::from_secs(15);
/// For all of them.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);

impl Mail {
    pub fn new(
        (host, port): (String, u16),
        encryption: Encryption,
        login: Option<(String, Secret<String>)>,
        from: &str,
        to: &[String],
        trust: Trust,
    ) -> Result<Self, MailError> {
        let address = |text: &str| text.parse::<Mailbox>().map_err(|_| MailError::Address(text.to_owned()));
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if encryption == Encryption::Local && !is_here {
            return Err(MailError::InTheClear(host));
        }
        let from = address(from)?;
        let to = to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(MailError::Nobody);
        }
        Ok(Self { host, port, encryption, login, from, to, trust })
    }

    pub(crate) async fn send(&self, alert: &Alert, message: &Message) -> Result<(), AttemptError> {
        let letter = self.letter(alert, message).map_err(|error| AttemptError::Never(error.to_string()))?;
        let transport = self.transport()?;
        let sent = tokio::time::timeout(WHOLE_LIMIT, transport.send(letter)).await;
        let sent = sent.map_err(|_| AttemptError::later(format!("{} took too long", self.host)))?;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(AttemptError::Never(said(&error))),
            Err(error) => Err(AttemptError::later(said(&error))),
        }
    }

    fn letter(&self, alert: &Alert, message: &Message) -> Result<Letter, lettre::error::Error> {
        let text = match &message.link {
            Some(link) => format!("{}\n\n{link}\n", message.text),
            None => format!("{}\n", message.text),
        };
        let addressed = self.to.iter().fold(Letter::builder(), |letter, to| letter.to(to.clone()));
        addressed
            .from(self.from.clone())
            .message_id(Some(format!("<{}@{}>", alert.id, self.from.email.domain())))
            .subject(&message.title)
            // What answers by itself stays silent (RFC 3834).
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, AttemptError> {
        let tls = || -> Result<TlsParameters, AttemptError> {
            let mut parameters = TlsParameters::builder(self.host.clone());
            if let Trust::File(path) = &self.trust {
                let pem = fs::read(path)
                    .map_err(|error| AttemptError::later(format!("{} cannot be read: {error}", path.display())))?;
                let root = Certificate::from_pem(&pem).map_err(AttemptError::later)?;
                parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(root);
            }
            parameters.build_rustls().map_err(AttemptError::later)
        };
        let tls = match self.encryption {
            Encryption::Tls => Tls::Wrapper(tls()?),
            Encryption::StartTls => Tls::Required(tls()?),
            Encryption::Local => Tls::None,
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(LIMIT));
        let transport = match &self.login {
            Some((user, password)) => transport.credentials(Credentials::new(user.clone(), password.expose().clone())),
            None => transport,
        };
        Ok(transport.build())
    }
}

/// What it says with what lies beneath.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(beneath) => format!("{error}: {beneath}"),
        None => error.to_string(),
    }
}

#[derive(Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_without_tls_goes_to_this_machine_alone() {
        let to = |host: &str| {
            let to = ["ada@example.org".to_owned()];
            Mail::new((host.to_owned(), 25), Encryption::Local, None, "Doorward <a@example.org>", &to, Trust::System)
        };
        assert!(to("localhost").is_ok() && to("127.0.0.1").is_ok() && to("::1").is_ok());
        for elsewhere in ["mail.example.org", "192.168.1.2", "localhost.example.org", "127.0.0.1.example.org"] {
            assert_eq!(to(elsewhere).unwrap_err(), MailError::InTheClear(elsewhere.to_owned()));
        }
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        let new = |from: &str, to: &[&str]| {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            Mail::new(("localhost".into(), 25), Encryption::Local, None, from, &to, Trust::System)
        };
        assert_eq!(new("nobody", &["a@b.org"]).unwrap_err(), MailError::Address("nobody".into()));
        assert_eq!(
            new("a@b.org", &["a@b.org\r\nBcc: c@d.org"]).unwrap_err(),
            MailError::Address("a@b.org\r\nBcc: c@d.org".into())
        );
        assert_eq!(new("a@b.org", &[]).unwrap_err(), MailError::Nobody);
    }
}
