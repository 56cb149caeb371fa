//! Logging in at a portal elsewhere, and the tokens by which programs do.

use super::owner::{DataArgs, FormArgs};
use crate::admin::portal::{self, Portal};
use crate::admin::tokens::{self, Wish};
use crate::admin::{Owner, services};
use crate::{admin, terminal};
use clap::{Args, Subcommand};
use doorward_core::Secret;
use doorward_core::authority::Scope;
use jiff::Timestamp;
use std::path::PathBuf;

pub(super) const LOGIN_EXAMPLES: &str = "The token is asked for, or read from a file or from stdin (-). It is kept in
login.toml beside the other settings of this user, for nobody else to read.
From then on `doorward devices`, services, sessions, people, groups and audit
ask that portal, unless --data names a gateway of this machine.

Examples:
  doorward login https://portal.example.org
  doorward login https://portal.example.org --token-file - < token.txt
  doorward login https://192.0.2.7 --ca doorward-ca.pem";

pub(super) const LOGOUT_EXAMPLES: &str = "The token itself counts until it ends or somebody revokes it.

Examples:
  doorward logout
  doorward tokens revoke 3     beforehand, if it is not needed elsewhere";

pub(super) const TOKENS_EXAMPLES: &str = "A token is shown once. It may do what its person may, and less if said so:
read looks, sessions opens and ends them, manage does everything else. With
visit a program comes in at the web services that it is for, and nothing else:
it sends the token in the header Doorward-Token, or as the password of Basic.

Examples:
  doorward tokens
  doorward tokens add backup-script --may read
  doorward tokens add app --person anna --service printer1/octoprint --for 30d
  doorward tokens add slicer --may visit --service printer1/octoprint
  doorward tokens revoke 3";

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// As https://portal.example.org.
    portal: String,
    /// Reads the token from a file, or from stdin (-), instead of asking for it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The root certificate of a gateway that is its own authority (`doorward ca --pem`).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TokensArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(subcommand)]
    deed: Option<TokensDeed>,
}

#[derive(Debug, Subcommand)]
enum TokensDeed {
    /// Makes a token and shows it, this once.
    Add {
        /// What it is for.
        title: String,
        /// What it may do: visit, read, sessions or manage.
        #[arg(long, value_name = "SCOPE", value_parser = scope, default_value = "sessions")]
        may: Scope,
        /// Only for this service, as DEVICE/SERVICE; may be repeated.
        #[arg(long = "service", value_name = "DEVICE/SERVICE")]
        services: Vec<String>,
        /// How long it counts, as 12h or 30d [default: 90d].
        #[arg(long = "for", value_name = "SPAN")]
        length: Option<String>,
        /// Whose it is, if not yours.
        #[arg(long, value_name = "NAME")]
        person: Option<String>,
    },
    /// Takes a token back.
    Revoke { id: i64 },
}

fn scope(given: &str) -> Result<Scope, String> {
    Scope::read(given).ok_or_else(|| "write visit, read, sessions or manage".to_owned())
}

impl LoginArgs {
    pub(super) async fn run(self) -> anyhow::Result<String> {
        let token = match &self.token_file {
            Some(file) if file.as_os_str() != "-" => terminal::secret_in(file, "token")?,
            Some(_) | None => terminal::known_secret("Token".to_owned()).await?,
        };
        let token = Secret::new(token.expose().trim().to_owned());
        let authority = self.ca.map(std::path::absolute).transpose()?;
        let portal = Portal::new(&self.portal, token, authority)?;
        // What does not work is not kept.
        services::list(&Owner::at(portal.clone()), admin::Form::Json, Timestamp::now()).await?;
        portal.keep(&portal::file())?;
        Ok(format!("Logged in at {}; `doorward services` shows what is there.\n", portal.address()))
    }
}

pub(super) fn logout() -> anyhow::Result<String> {
    let file = portal::file();
    match std::fs::remove_file(&file) {
        Ok(()) => Ok("Logged out; commands ask the gateway of this machine again.\n".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("Nobody is logged in.\n".to_owned()),
        Err(error) => Err(anyhow::anyhow!("{} cannot be removed: {error}", file.display())),
    }
}

impl TokensArgs {
    pub(super) async fn run(self, now: Timestamp) -> anyhow::Result<String> {
        let owner = self.data.owner();
        match self.deed {
            None => Ok(tokens::list(&owner, self.form.form(), now).await?),
            Some(TokensDeed::Add { title, may, services, length, person }) => {
                let services = (!services.is_empty()).then_some(services);
                let wish = Wish { title, scope: may, services, length, person };
                Ok(format!("{}\n", tokens::make(&owner, &wish).await?.expose()))
            }
            Some(TokensDeed::Revoke { id }) => Ok(tokens::revoke(&owner, id).await?),
        }
    }
}
