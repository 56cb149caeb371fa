//! DNS-01 (RFC 8555, 8.4): a TXT record below each name, made by an update, by our own responder or by a program of the
//! owner's.

mod hook;
pub(super) mod lookup;
pub(crate) mod responder;
mod update;

use super::records::DnsRecord;
use super::settings::{DnsSettings, ResponderSettings};
use doorward_core::names::HostName;
use hook::HookError;
use lookup::{Lookup, LookupError};
use rand::RngExt;
use responder::Records;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::debug;
use update::UpdateError;

pub(crate) struct Dns {
    settings: DnsSettings,
    lookup: Lookup,
    /// What our own responder answers.
    records: Arc<Records>,
    /// Always the same, since what was heard is remembered for a while.
    probe: String,
}

/// A record that is there, to be taken back by [`Dns::withdraw`].
#[must_use]
#[derive(Debug)]
pub(super) struct Published {
    name: HostName,
    value: String,
}

#[derive(Debug, Error)]
pub(super) enum DnsError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("{from} does not lead to {zone}, where our own responder answers: make the record `{from} CNAME {wanted}`")]
    NotDelegated { from: HostName, zone: HostName, wanted: HostName },
    #[error("{0} is too long a name")]
    TooLong(HostName),
}

/// Aliases of aliases, at most.
const MAX_ALIASES: usize = 8;
/// How long a record may take to be seen that its own server does not say yet.
const SEEN_LIMIT: Duration = Duration::from_secs(60);
const OWN_LIMIT: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Dns {
    pub(super) fn new(settings: DnsSettings, lookup: Lookup, records: Arc<Records>) -> Self {
        let probe = format!("doorward-{:016x}", rand::rng().random::<u64>());
        Self { settings, lookup, records, probe }
    }

    /// The records that must be made by hand once, so that names of this domain can be proved.
    pub(super) fn records_for(&self, domain: &HostName) -> Vec<DnsRecord> {
        match &self.settings {
            DnsSettings::Responder(responder) => delegating_records(domain, responder),
            DnsSettings::Update(_) | DnsSettings::Hook(_) => Vec::new(),
        }
    }

    /// Whether a proof for this domain would be found: of our own responder, whether what it says is heard.
    pub(super) async fn is_heard(&self, domain: &HostName) -> Result<bool, DnsError> {
        match self.settings {
            DnsSettings::Responder(_) => {}
            DnsSettings::Update(_) | DnsSettings::Hook(_) => return Ok(true),
        }
        let published = self.publish(domain, &self.probe).await?;
        let heard = self.lookup.texts(&proof_name(domain)?).await;
        self.withdraw(published).await?;
        Ok(heard?.contains(&self.probe))
    }

    /// Makes the record and waits until it can be seen, as far as that can be known from here.
    pub(super) async fn publish(&self, domain: &HostName, value: &str) -> Result<Published, DnsError> {
        let from = proof_name(domain)?;
        let name = self.followed(&from).await?;
        match &self.settings {
            DnsSettings::Update(update) => update::add(update, &name, value).await?,
            DnsSettings::Responder(responder) => {
                if !name.is_under(&responder.zone) {
                    let wanted = wanted_alias(domain, &responder.zone).ok_or(DnsError::TooLong(domain.clone()))?;
                    return Err(DnsError::NotDelegated { from, zone: responder.zone.clone(), wanted });
                }
                self.records.add(&name, value);
            }
            DnsSettings::Hook(hook) => hook::run(hook, "present", &name, value).await?,
        }
        Ok(Published { name, value: value.to_owned() })
    }

    /// Waits until everybody should see it.
    pub(super) async fn until_seen(&self, published: &Published) {
        let limit = match &self.settings {
            // Whoever takes updates is the one whom others ask.
            DnsSettings::Update(update) => match update::is_there(update, &published.name, &published.value).await {
                Ok(true) => return,
                Ok(false) | Err(_) => SEEN_LIMIT,
            },
            // Nobody but us may have asked a moment ago, and remember that there was nothing.
            DnsSettings::Responder(_) => OWN_LIMIT,
            DnsSettings::Hook(hook) => hook.propagation,
        };
        let begun = Instant::now();
        while begun.elapsed() < limit {
            match self.lookup.texts(&published.name).await {
                Ok(texts) if texts.contains(&published.value) => return,
                Ok(_) => {}
                Err(error) => debug!(%error, "a record that was just made cannot be looked up"),
            }
            sleep(LOOK_EVERY).await;
        }
        debug!(name = %published.name, "it is not seen from here; others may see it");
    }

    pub(super) async fn withdraw(&self, published: Published) -> Result<(), DnsError> {
        let Published { name, value } = published;
        match &self.settings {
            DnsSettings::Update(update) => update::remove(update, &name, &value).await?,
            DnsSettings::Responder(_) => self.records.remove(&name, &value),
            DnsSettings::Hook(hook) => hook::run(hook, "cleanup", &name, &value).await?,
        }
        Ok(())
    }

    /// Where aliases lead.
    async fn followed(&self, from: &HostName) -> Result<HostName, DnsError> {
        let mut name = from.clone();
        for _ in 0..MAX_ALIASES {
            if let DnsSettings::Responder(responder) = &self.settings
                && name.is_under(&responder.zone)
            {
                break;
            }
            match self.alias_of(&name).await? {
                Some(next) => name = next,
                None => break,
            }
        }
        Ok(name)
    }

    async fn alias_of(&self, name: &HostName) -> Result<Option<HostName>, DnsError> {
        match &self.settings {
            // A resolver that was asked too early would remember for long that there is nothing.
            DnsSettings::Update(update) => Ok(update::alias_of(update, name).await?),
            DnsSettings::Responder(_) | DnsSettings::Hook(_) => Ok(self.lookup.alias(name).await?),
        }
    }
}

/// The responder's zone, and from the domain into it.
pub(super) fn delegating_records(domain: &HostName, responder: &ResponderSettings) -> Vec<DnsRecord> {
    let record =
        |name: &HostName, kind, value: &HostName| DnsRecord { name: name.to_string(), kind, value: value.to_string() };
    let mut records = vec![record(&responder.zone, "NS", &responder.server)];
    let from = proof_name(domain).ok().filter(|from| *from != responder.zone);
    if let Some((from, alias)) = from.zip(wanted_alias(domain, &responder.zone)) {
        records.push(record(&from, "CNAME", &alias));
    }
    records
}

fn proof_name(domain: &HostName) -> Result<HostName, DnsError> {
    domain.child("_acme-challenge").map_err(|_| DnsError::TooLong(domain.clone()))
}

/// What `_acme-challenge.DOMAIN` should be an alias of: a name that can be read, below our zone.
fn wanted_alias(domain: &HostName, zone: &HostName) -> Option<HostName> {
    HostName::parse(&format!("{domain}.{zone}")).ok()
}
