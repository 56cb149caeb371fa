//! A login at a portal elsewhere, kept for the commands: its address and an API token, in a file for its owner alone.

use super::AskError;
use crate::paths;
use anyhow::Context;
use doorward_core::Secret;
use http::Uri;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[derive(Clone, Debug)]
pub struct Portal {
    address: Uri,
    token: Secret<String>,
    /// Whom to trust besides those whom the machine does.
    authority: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    portal: String,
    token: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub fn file() -> PathBuf {
    paths::configuration("login.toml")
}

impl Portal {
    /// `address` as `https://portal.example.org`.
    pub fn new(address: &str, token: Secret<String>, authority: Option<PathBuf>) -> anyhow::Result<Self> {
        let address: Uri = address.trim_end_matches('/').parse().context("write the portal as https://HOST")?;
        let host = address.host().context("write the portal as https://HOST")?;
        // Whoever listens to plain HTTP has the token. On this machine nobody does.
        let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        match address.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            Some(_) | None => anyhow::bail!("a token is sent over https alone: write the portal as https://{host}"),
        }
        anyhow::ensure!(address.path().len() <= 1, "write the portal as https://{host}, without a path");
        let is_token = token.expose().starts_with("dw_") && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(is_token, "that is no token of a portal: they begin with dw_");
        Ok(Self { address, token, authority })
    }

    /// What was kept; `None`: there is no login.
    pub fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let mode = std::fs::metadata(file)?.permissions().mode();
        anyhow::ensure!(mode & 0o077 == 0, "others may read {}: `chmod 600` it, or log in anew", file.display());
        // What toml says of a mistake shows the line, and so the token.
        let read = toml::from_str::<File<String>>(text.expose()).map_err(|error| error.message().to_owned());
        let File { portal, token, ca } =
            read.map_err(|what| anyhow::anyhow!("{}: {what}; `doorward login` writes it anew", file.display()))?;
        Self::new(&portal, Secret::new(token), ca).map(Some)
    }

    pub fn keep(&self, file: &Path) -> anyhow::Result<()> {
        let directory = file.parent().context("the file has a directory")?;
        std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        let kept = File { portal: self.address(), token: self.token.expose().as_str(), ca: self.authority.clone() };
        let text = Secret::new(toml::to_string(&kept).context("what is kept is always TOML")?);
        let part = file.with_extension("toml.new");
        let _ = std::fs::remove_file(&part);
        let write = || -> io::Result<()> {
            let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            new.write_all(text.expose().as_bytes())?;
            new.sync_all()?;
            std::fs::rename(&part, file)
        };
        write().with_context(|| format!("{} cannot be written", file.display()))
    }

    pub fn address(&self) -> String {
        self.address.to_string().trim_end_matches('/').to_owned()
    }

    pub(crate) fn authority(&self) -> &str {
        self.address.authority().map_or("", |authority| authority.as_str())
    }

    pub(crate) fn authorization(&self) -> Secret<String> {
        Secret::new(format!("Bearer {}", self.token.expose()))
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, AskError> {
        let unreachable = |source| AskError::Unreachable { portal: self.address(), source };
        let host = self.address.host().unwrap_or_default();
        let is_https = self.address.scheme_str() == Some("https");
        let port = self.address.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((bare.as_str(), port)).await.map_err(unreachable)?;
        if !is_https {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(bare).map_err(|error| unreachable(io::Error::other(error)))?;
        let connector = TlsConnector::from(Arc::new(self.trust().map_err(unreachable)?));
        Ok(Box::new(connector.connect(name, stream).await.map_err(unreachable)?))
    }

    fn trust(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.authority {
            for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Secret<String> {
        Secret::new("dw_abc".to_owned())
    }

    #[test]
    fn a_token_goes_over_https_or_stays_on_this_machine() {
        let table = [
            ("https://portal.example.org", true),
            ("https://portal.example.org:8443/", true),
            ("http://127.0.0.1:8080", true),
            ("http://portal.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("https://portal.example.org/path", false),
            ("portal.example.org", false),
            ("ftp://portal.example.org", false),
        ];
        for (address, is_fine) in table {
            assert_eq!(Portal::new(address, token(), None).is_ok(), is_fine, "{address}");
        }
        assert!(Portal::new("https://portal.example.org", Secret::new("hunter2".to_owned()), None).is_err());
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("doorward/login.toml");
        assert!(Portal::read(&file).unwrap().is_none());
        let portal = Portal::new("https://portal.example.org/", token(), Some("/ca.pem".into())).unwrap();
        portal.keep(&file).unwrap();
        portal.keep(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Portal::read(&file).unwrap().unwrap();
        assert_eq!((read.address(), read.token.expose()), (portal.address(), token().expose()));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Portal::read(&file).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_is_wrong_with_the_file_does_not_show_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("login.toml");
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap();
        std::fs::write(&file, "portal = \"https://x\"\ntoken = \"dw_secret\" more\n").unwrap();
        let error = format!("{:?}", Portal::read(&file).unwrap_err());
        assert!(error.contains("login.toml") && !error.contains("dw_secret"), "{error}");
    }
}
