//! When authorities want their certificates renewed (ARI, RFC 9773): earlier than anybody would by himself where they
//! have to revoke many. They are asked as often as they wish; one that does not offer it is asked once a day.

use super::authority::{AccountError, Authority};
use doorward_control::{Certificate, Control};
use doorward_core::certificates::{Names, Window};
use instant_acme::{CertificateIdentifier, Error};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::time::Instant;
use tracing::debug;

/// In memory: it is asked again after a restart.
#[derive(Default)]
pub(super) struct Windows(HashMap<Names, Answer>);

struct Answer {
    window: Option<Window>,
    again_at: Instant,
}

#[derive(Debug, ThisError)]
enum AskError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Acme(#[from] Error),
    #[error("its certificate cannot be named: {0}")]
    Strange(String),
}

/// RFC 9773, 4.3.2 and 4.3.3: nobody is asked more often, nor is a window believed for longer than a day.
const SOONEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(24 * 3600);
/// After a failure, as the RFC advises.
const AFTER_FAILURE: Duration = Duration::from_secs(6 * 3600);

impl Windows {
    /// What was said, by names.
    pub(super) fn known(&self) -> HashMap<Names, Window> {
        let known = self.0.iter().filter_map(|(names, answer)| Some((names.clone(), answer.window?)));
        known.collect()
    }

    /// The certificate that it was about is not the newest any more.
    pub(super) fn forget(&mut self, names: &Names) {
        self.0.remove(names);
    }

    /// Asks about what is held and wanted, where it is time to.
    pub(super) async fn ask(&mut self, control: &Control, authorities: &[Authority], wanted: &[Names]) {
        self.0.retain(|names, _| wanted.contains(names));
        let shelf = control.certificates().borrow().clone();
        // One that does not answer is not waited for again and again.
        let mut silent: Vec<&str> = Vec::new();
        for certificate in shelf.iter().filter(|certificate| wanted.contains(&certificate.held.names)) {
            let names = &certificate.held.names;
            if self.0.get(names).is_some_and(|answer| Instant::now() < answer.again_at) {
                continue;
            }
            let issued = |authority: &&Authority| authority.directory() == certificate.directory;
            let Some(authority) = authorities.iter().find(issued) else { continue };
            let before = self.0.get(names).and_then(|answer| answer.window);
            if silent.contains(&authority.directory()) {
                continue;
            }
            let (window, again) = match suggestion(control, authority, certificate).await {
                Ok((window, again)) => (Some(window), again.clamp(SOONEST, LATEST)),
                Err(AskError::Acme(Error::Unsupported(_))) => (None, LATEST),
                Err(error) => {
                    debug!(%names, %error, "the authority does not say when to renew");
                    silent.push(authority.directory());
                    (before, AFTER_FAILURE)
                }
            };
            self.0.insert(names.clone(), Answer { window, again_at: Instant::now() + again });
        }
    }
}

async fn suggestion(
    control: &Control,
    authority: &Authority,
    certificate: &Certificate,
) -> Result<(Window, Duration), AskError> {
    let strange = |error: String| AskError::Strange(error);
    let leaf = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).map_err(|e| strange(e.to_string()))?;
    let id = CertificateIdentifier::try_from(&leaf).map_err(strange)?;
    let (info, again) = authority.account(control).await?.renewal_info(&id).await?;
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|e| strange(e.to_string()));
    let suggested = info.suggested_window;
    let (from, until) = (time(suggested.start.unix_timestamp())?, time(suggested.end.unix_timestamp())?);
    Ok((Window { from, until }, again))
}
