//! `doorward certificates`: client certificates, for phones and programs that can show one.

use super::owner::{DataArgs, FormArgs};
use crate::admin::client_certificates::{self as certificates, Wish};
use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
A certificate comes in as its person at the services whose policy takes some
(certificates = true). Its key is in the file that is written, nowhere else.

Examples:
  doorward certificates
  doorward certificates add phone --file phone.p12
  doorward certificates add scanner --person anna --for 90d --file scanner.p12
  doorward certificates revoke 3
  curl --cert-type P12 --cert phone.p12:PASSWORD https://cam-pi.example.org/";

#[derive(Debug, Args)]
pub(super) struct CertificatesArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(subcommand)]
    deed: Option<Deed>,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Makes a certificate, writes it with its key to a file, and shows the file's password, this once.
    Add {
        /// Where it will be.
        title: String,
        /// A new file (PKCS#12), for nobody else to read.
        #[arg(long, value_name = "FILE", default_value = "doorward.p12")]
        file: PathBuf,
        /// How long it counts, as 12h or 30d [default: 365d].
        #[arg(long = "for", value_name = "SPAN")]
        length: Option<String>,
        /// Whose it is, if not yours.
        #[arg(long, value_name = "NAME")]
        person: Option<String>,
    },
    /// Takes a certificate back, and cuts what came by it.
    Revoke { id: i64 },
}

impl CertificatesArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let owner = self.data.owner();
        match self.deed {
            None => Ok(certificates::list(&owner, self.form.form(), now).await?),
            Some(Deed::Revoke { id }) => Ok(certificates::revoke(&owner, id).await?),
            Some(Deed::Add { title, file, length, person }) => {
                // What cannot be written should not be made.
                let mut new = create(&file)?;
                let made = match certificates::make(&owner, &Wish { title, length, person }).await {
                    Ok(made) => made,
                    Err(error) => {
                        let _ = std::fs::remove_file(&file);
                        return Err(error.into());
                    }
                };
                new.write_all(made.archive.expose()).with_context(|| file.display().to_string())?;
                let about = format!("Certificate {} is in {}. It opens with this password:\n", made.id, file.display());
                eprint!("{about}");
                Ok(format!("{}\n", made.password.expose()))
            }
        }
    }
}

fn create(file: &Path) -> anyhow::Result<std::fs::File> {
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    new.with_context(|| format!("{} cannot be made", file.display()))
}
