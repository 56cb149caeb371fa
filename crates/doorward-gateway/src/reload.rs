//! New settings for a running gateway: checked first, then taken over without anything that could fail between.

use crate::Gateway;
use crate::certificates::resolver::{Standing, WebCertificates};
use crate::certificates::{CertificateError, of_files};
use crate::listen::strangers::Strangers;
use crate::settings::GatewaySettings;
use crate::site::SiteVoice;
use crate::web::forward::Web;
use crate::web::strict;
use doorward_tunnel::messages::Message;
use std::sync::Arc;

/// What takes new settings while it runs. Listeners do not: they stay where they are.
pub(crate) struct Changeable {
    pub(crate) certificates: Arc<WebCertificates>,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) web: Arc<Web>,
    pub(crate) voice: Arc<SiteVoice>,
}

/// Settings that can be taken over.
#[must_use]
pub struct Checked {
    settings: GatewaySettings,
    /// The owner's files, if there are such.
    files: Option<Arc<Standing>>,
}

impl Gateway {
    /// Whether these settings can be used; reads the certificate's files.
    pub fn check(&self, settings: GatewaySettings) -> Result<Checked, CertificateError> {
        let files = of_files(&settings.certificate)?;
        Ok(Checked { settings, files })
    }

    /// Goes by these settings from now on: certificate, addresses, proxies and limits. What stands is left alone.
    pub async fn take_over(&self, checked: Checked) {
        let Checked { settings, files } = checked;
        let Changeable { certificates, strangers, web, voice } = &self.changeable;
        certificates.take(settings.certificate, files);
        strangers.set_limits(settings.limits);
        web.admission.flows.store(Arc::new(settings.flows));
        web.rates.set_limits(settings.limits);
        web.hsts.store(Arc::new(strict::hsts(settings.hsts)));
        web.proxies.store(Arc::new(settings.proxies));
        web.proxy_protocol_from.store(Arc::new(settings.proxy_protocol_from));
        voice.set_web_ports(self.bound.public_web_ports(settings.public_port));
        let addresses = self.bound.fill_ports(&settings.addresses);
        if *voice.addresses() != addresses {
            voice.set_addresses(addresses);
            self.links.tell_all(Message::Site(voice.site())).await;
        }
    }
}
