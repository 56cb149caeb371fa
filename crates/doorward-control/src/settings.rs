//! What the binary passes in, already validated.

use crate::store::StoreError;
use crate::{Control, accounts, services};
use doorward_core::knock::USUAL_WINDOW;
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::site::Host;
use jiff::{SignedDuration, Timestamp};
use std::ops::RangeInclusive;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// Made with mode 0700 if it does not exist.
    pub directory: PathBuf,
    pub site: SiteSettings,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Default host names are made below it. `None`: services get none.
    pub domain: Option<HostName>,
    /// How the web entrance looks from outside.
    pub web: WebFace,
    /// Where visitors reach raw ports; the domain unless said otherwise.
    pub port_host: Option<Host>,
    /// Where SSH is spoken, if it is.
    pub ssh_port: Option<u16>,
    /// Ports to choose from where a device asks for any, and what the default account may ask for by number.
    pub tcp_ports: RangeInclusive<u16>,
    pub udp_ports: RangeInclusive<u16>,
    /// From which each session of a service that asks for it gets one of its own; `None`: sessions have none.
    pub session_ports: Option<RangeInclusive<u16>>,
    pub knock: KnockSettings,
    /// Further host suffixes that the default account may use, beside the domain.
    pub suffixes: Vec<HostName>,
    /// The gateway's own names, which no service may take.
    pub kept_hosts: Vec<HostName>,
    /// Where people sign in; no service may take it either. `None`: nobody does.
    pub portal: Option<HostName>,
    /// Names by which agents reach the gateway. Services may share them, but not take their TLS.
    pub link_hosts: Vec<HostName>,
    /// Where the gateway reads ClientHellos, as it is from outside; `None`: nowhere.
    pub tls_port: Option<u16>,
}

/// How people knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnockSettings {
    /// As it is from outside; `None`: nobody hears it.
    pub port: Option<u16>,
    /// How far the clocks of knocker and gateway may be apart.
    pub window: SignedDuration,
    /// `Some`: the portal is there only for whoever comes from where somebody knocked so long ago, or has a session open.
    pub hides_portal_but_for: Option<SignedDuration>,
}

impl Default for KnockSettings {
    fn default() -> Self {
        Self { port: None, window: USUAL_WINDOW, hides_portal_but_for: None }
    }
}

/// Scheme and port of public URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebFace {
    pub is_https: bool,
    pub port: u16,
}

impl WebFace {
    pub const HTTPS: Self = Self { is_https: true, port: 443 };

    /// `https://printer1.example.org/`, with the port where it is not the scheme's own.
    pub fn url(self, host: &HostName, prefix: Option<&PathPrefix>) -> String {
        let (scheme, own_port) = if self.is_https { ("https", 443) } else { ("http", 80) };
        let path = prefix.map_or("/", PathPrefix::as_str);
        if self.port == own_port {
            format!("{scheme}://{host}{path}")
        } else {
            format!("{scheme}://{host}:{}{path}", self.port)
        }
    }
}

impl Control {
    /// Takes new settings over, in one change. Names and ports that they grant no more lead nowhere from then on, but
    /// stay reserved; where the domain is new, web services get names below it. `None`: those it was opened with.
    pub(crate) async fn settle(&self, site: Option<SiteSettings>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |work| {
            Box::pin(async move {
                let before = work.draft.site().clone();
                if let Some(site) = site {
                    work.draft.put_site(site);
                }
                accounts::establish_owner(work, now).await?;
                work.refresh_grants().await?;
                let site = work.draft.site();
                if site.link_hosts != before.link_hosts || site.portal != before.portal {
                    work.settle_services();
                }
                if work.draft.site().session_ports != before.session_ports {
                    work.settle_sessions();
                }
                if work.draft.site().domain != before.domain {
                    let devices: Vec<_> = work.draft.devices().map(|device| device.id).collect();
                    for device in devices {
                        services::give_default_hosts(work, device).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    /// The settings were changed: they count from now on, as a whole.
    pub async fn resettle(&self, site: SiteSettings, now: Timestamp) -> Result<(), StoreError> {
        if *self.site() == site { Ok(()) } else { self.settle(Some(site), now).await }
    }
}

impl SiteSettings {
    /// Whether agents and certificate authorities must find the gateway itself under this name.
    pub(crate) fn speaks_tls_for(&self, host: &HostName) -> bool {
        self.domain.as_ref() == Some(host) || self.link_hosts.contains(host)
    }

    /// Where people sign in; `None`: nobody does.
    pub fn portal_url(&self) -> Option<String> {
        self.portal.as_ref().map(|portal| self.web.url(portal, None))
    }

    /// Whether this name is the gateway's own, so that no service may take it.
    pub(crate) fn keeps(&self, host: &HostName) -> bool {
        self.kept_hosts.contains(host) || self.portal.as_ref() == Some(host)
    }

    /// What to write before `:port` for raw ports.
    pub fn port_host(&self) -> String {
        match (&self.port_host, &self.domain) {
            (Some(host), _) => host.to_string(),
            (None, Some(domain)) => domain.to_string(),
            (None, None) => "localhost".to_owned(),
        }
    }
}
