//! E-mail by STARTTLS and with a password to aiosmtpd, which prints what it got.

use super::{Site, to};
use doorward_alerts::{Destination, Encryption, Language, Mail, Trust, Way};
use doorward_core::Secret;
use doorward_core::notice::Notice;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

struct Server {
    port: u16,
    said: Lines<BufReader<ChildStdout>>,
    certificate: PathBuf,
    _child: Child,
    _directory: TempDir,
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mailing/server.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([&script, &certificate, &key])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the package python3-aiosmtpd is there");
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = next(&mut said).await.parse().expect("it says its port");
        Self { port, said, certificate, _child: child, _directory: directory }
    }

    fn mail(&self, encryption: Encryption, password: &str, trust: Trust) -> Way {
        let login = Some(("doorward".to_owned(), Secret::new(password.to_owned())));
        let server = ("localhost".to_owned(), self.port);
        let to = ["Ada <ada@example.org>".to_owned(), "ben@example.org".to_owned()];
        Way::Mail(Mail::new(server, encryption, login, "Doorward <gw@example.org>", &to, trust).unwrap())
    }
}

async fn next(said: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(super::LIMIT, said.next_line()).await;
    line.expect("the mail server says something in time").unwrap().expect("it runs")
}

#[tokio::test]
async fn mail_goes_by_starttls_with_a_password_and_reads_as_it_was_meant() {
    let site = Site::open().await;
    let mut server = Server::start().await;
    let mail = server.mail(Encryption::StartTls, "right", Trust::File(server.certificate.clone()));
    let _alerts = site.serve(vec![Destination { language: Language::Spanish, ..to("mail", mail) }]);
    let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    site.raise(Notice::DeviceOffline { device: "zumi01".into(), since: at });
    let got: serde_json::Value = serde_json::from_str(&next(&mut server.said).await).unwrap();
    assert_eq!(got["tls"], true);
    assert_eq!(got["from"], "gw@example.org");
    assert_eq!(got["to"], serde_json::json!(["ada@example.org", "ben@example.org"]));
    assert_eq!(got["subject"], "zumi01 está desconectado");
    assert_eq!(got["text"].as_str().unwrap().trim(), "No se llega a zumi01 desde 2026-11-23 12:00 UTC.");
    assert_eq!(got["auto-submitted"], "auto-generated");
    site.until("mail", |state| state.sent == 1).await;
}

#[tokio::test]
async fn a_wrong_password_an_unknown_certificate_and_no_starttls_send_nothing() {
    let site = Site::open().await;
    let server = Server::start().await;
    let own = Trust::File(server.certificate.clone());
    for (name, way) in [
        ("password", server.mail(Encryption::StartTls, "wrong", own.clone())),
        ("certificate", server.mail(Encryption::StartTls, "right", Trust::System)),
        ("tls", server.mail(Encryption::Tls, "right", own)),
    ] {
        let _alerts = site.serve(vec![to(name, way)]);
        site.raise(Notice::Test);
        let state = site.until(name, |state| state.tested.is_some()).await;
        let why = state.tested.unwrap().trouble.expect("it does not arrive");
        assert!(!why.contains("wrong") && state.sent == 0, "{name}: {why}");
    }
}
