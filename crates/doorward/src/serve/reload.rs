//! New settings while the gateway runs. Everything is checked first; then it is taken over as a whole, or nothing is.

use super::Running;
use super::home::Home;
use super::settings::{Behind, File, Place, ServeSettings};
use crate::follow::{Cause, Watch};
use doorward_core::names::HostName;
use doorward_core::site::Address;
use doorward_gateway::CertificateSource;
use jiff::Timestamp;
use sd_notify::NotifyState;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Where the settings come from: a file, and flags that win over it.
pub struct Source {
    place: Place,
    directory: PathBuf,
    domain: Option<HostName>,
    addresses: Vec<Address>,
    behind: Option<Behind>,
}

impl Source {
    /// `config`: `gateway.toml`, if it is not in the usual place.
    pub fn new(config: Option<&Path>, directory: PathBuf) -> Self {
        Self { place: Place::find(config), directory, domain: None, addresses: Vec::new(), behind: None }
    }

    pub fn with_domain(mut self, domain: Option<HostName>) -> Self {
        self.domain = domain;
        self
    }

    pub fn with_addresses(mut self, addresses: Vec<Address>) -> Self {
        self.addresses = addresses;
        self
    }

    pub fn with_behind(mut self, behind: Option<Behind>) -> Self {
        self.behind = behind;
        self
    }

    pub fn settings(&self) -> anyhow::Result<ServeSettings> {
        self.convert(|file| file)
    }

    fn convert(&self, arrange: impl FnOnce(File) -> File) -> anyhow::Result<ServeSettings> {
        let (mut file, text) = self.place.read()?;
        file.domain = self.domain.clone().or(file.domain);
        file.behind = self.behind.clone().or(file.behind);
        if !self.addresses.is_empty() {
            file.addresses = Some(self.addresses.clone());
        }
        let settings = arrange(file).into_settings(self.directory.clone());
        settings.map_err(|error| self.place.locate(error, &text))
    }

    /// Begin to watch before reading.
    pub(super) fn watch(&self) -> anyhow::Result<Watch> {
        Watch::new(vec![self.place.path.clone()])
    }

    fn files(&self, certificate: &CertificateSource) -> Vec<PathBuf> {
        let own = [self.place.path.clone()];
        match certificate {
            CertificateSource::Own(_) => own.to_vec(),
            CertificateSource::Files { chain, key } => own.into_iter().chain([chain.clone(), key.clone()]).collect(),
        }
    }
}

impl Running {
    /// Takes changes of the settings and of the certificate's files over, for as long as it is polled.
    pub(super) async fn follow(&mut self, source: &Source, mut watch: Watch) {
        loop {
            watch.look_after(source.files(&self.certificate));
            let cause = tokio::select! {
                cause = watch.next() => cause,
                () = self.given_anew() => {
                    self.follow_router(source).await;
                    continue;
                }
            };
            // systemd waits for the second word (sd_notify(3)).
            if cause == Cause::Asked
                && let Ok(since) = NotifyState::monotonic_usec_now()
            {
                let _ = sd_notify::notify(&[NotifyState::Reloading, since]);
            }
            match self.read_again(source).await {
                Ok(()) => info!(file = %source.place.path.display(), "the settings were read again"),
                Err(error) => warn!("the settings stay as they were: {error:#}"),
            }
            if cause == Cause::Asked {
                let _ = sd_notify::notify(&[NotifyState::Ready]);
            }
        }
    }

    async fn given_anew(&mut self) {
        match &mut self.home {
            Some(home) => home.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Links and addresses name the port that the router gave.
    async fn follow_router(&mut self, source: &Source) {
        match self.read_again(source).await {
            Ok(()) => {
                let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
                let portal = super::portal::url(self).unwrap_or_else(|| "none".to_owned());
                info!("the router was heard: agents dial {}; portal {portal}", addresses.join(", "));
            }
            Err(error) => warn!("what the router gave is not followed until the settings are in order: {error:#}"),
        }
    }

    pub(super) async fn read_again(&mut self, source: &Source) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        let settings = source.convert(|file| {
            let (mut file, differing) = self.fixed.keep(file);
            kept = differing;
            file.given = self.home.as_ref().map(Home::given).unwrap_or_default();
            file
        })?;
        self.reload(settings).await?;
        for key in kept {
            warn!("{key}: this stays as it is until `doorward serve` starts again");
        }
        Ok(())
    }

    /// Goes by these settings from now on, except for what cannot change while it runs. An error has changed nothing.
    pub async fn reload(&mut self, settings: ServeSettings) -> anyhow::Result<()> {
        let certificate = settings.gateway.certificate.clone();
        let checked = self.gateway.check(settings.gateway)?;
        self.control.resettle(settings.site, Timestamp::now()).await?;
        self.control.keep_audit(settings.audit);
        self.control.tell_absence_after(settings.offline_after);
        self.telling.serve(settings.alerts);
        self.providers.serve(settings.providers);
        self.gateway.take_over(checked).await;
        self.addresses = self.gateway.addresses().to_vec();
        self.operations.set_addresses(&self.addresses);
        self.drain = settings.drain;
        self.certificate = certificate;
        Ok(())
    }
}
