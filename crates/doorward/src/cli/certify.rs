//! Commands about certificates of people.

use crate::admin::certify::{self, Wish};
use crate::admin::{Owner, when};
use anyhow::Context;
use clap::Args;
use jiff::SignedDuration;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) const CERTIFY_EXAMPLES: &str = "\
The certificate is put on stdout. Beside the key as id_ed25519-cert.pub, ssh
finds it by itself; elsewhere it is named by -o CertificateFile=FILE.

Examples:
  doorward people certify alex --key id_ed25519.pub > id_ed25519-cert.pub
  doorward people certify alex --for 30m --from 192.0.2.0/24 < id_ed25519.pub";
pub(super) const AUTHORITY_EXAMPLES: &str = "\
A device's own sshd takes the same certificates if its sshd_config names a file
with this key, for whoever may log in as the person's name there:
  TrustedUserCAKeys /etc/ssh/doorward-ca.pub

Examples:
  doorward ssh-ca
  doorward ssh-ca > doorward-ca.pub";
const MOST: u64 = 60 * 1024;

#[derive(Debug, Args)]
pub(super) struct CertifyArgs {
    /// Whose certificate it is, as policies name them.
    name: String,
    /// The public key, if not from stdin.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How long it counts, from 1m to 7d.
    #[arg(long = "for", value_name = "SPAN", value_parser = when::parse_span, default_value = "8h")]
    span: SignedDuration,
    /// Where alone it counts: an address or network; may be repeated.
    #[arg(long, value_name = "NETWORK")]
    from: Vec<String>,
}

impl CertifyArgs {
    pub(super) async fn run(self, owner: &Owner) -> anyhow::Result<String> {
        let key = public_key(self.key).await?;
        let wish = Wish { person: self.name, key, span: self.span, from: self.from };
        Ok(certify::certify(owner, &wish).await?)
    }
}

async fn public_key(file: Option<PathBuf>) -> anyhow::Result<String> {
    let read = move || match file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display())),
        None => {
            let mut text = String::new();
            let stdin = std::io::stdin().lock().take(MOST).read_to_string(&mut text);
            stdin.map(|_| text).context("the key could not be read from stdin")
        }
    };
    tokio::task::spawn_blocking(read).await?
}
