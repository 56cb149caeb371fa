//! What changes of the state ask of the data plane.

use crate::links::Links;
use crate::live::Live;
use crate::site::SiteVoice;
use crate::ssh::Connections;
use doorward_control::{Control, KeyStanding, News, SiteKeys};
use doorward_core::DeviceId;
use doorward_tunnel::Acceptor;
use doorward_tunnel::identity::SiteIdentity;
use doorward_tunnel::messages::{Leaving, Message};
use futures_util::future::join_all;
use std::sync::Arc;
use tracing::{info, warn};

/// Does what changes of the state ask for: cuts what is allowed no more, and tells agents what they must know.
pub(crate) struct Follower {
    pub(crate) control: Control,
    pub(crate) live: Arc<Live>,
    pub(crate) links: Arc<Links>,
    pub(crate) voice: Arc<SiteVoice>,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) ssh: Arc<Connections>,
}

impl Follower {
    pub(crate) async fn follow(self, endpoints: Vec<quinn::Endpoint>) {
        let mut changes = self.control.changes();
        let mut keys = self.control.site_keys();
        while let Some(news) = changes.next().await {
            let snapshot = self.control.snapshot();
            match news {
                News::Change(change) => {
                    self.live.decide_again(&snapshot, &change);
                    if change.ssh_keys || !change.people.is_empty() {
                        self.ssh.end_strangers(&snapshot);
                    }
                    self.close_links_of(change.devices.iter().copied()).await;
                }
                News::Lagged => {
                    self.live.decide_all_again(&snapshot);
                    self.ssh.end_strangers(&snapshot);
                    self.close_links_of(self.links.all().into_iter().map(|(id, _)| id)).await;
                }
            }
            let now = self.control.site_keys();
            if !is_same(&keys, &now) {
                self.change_keys(&keys, &now, &endpoints).await;
                keys = now;
            }
        }
    }

    /// Ends the links whose key does not count any more.
    async fn close_links_of(&self, devices: impl Iterator<Item = DeviceId>) {
        let snapshot = self.control.snapshot();
        let counts_no_more = |id: &DeviceId| {
            let held = self.links.holder(*id);
            held.is_some_and(|held| match snapshot.device_by_key(&held.device_key) {
                KeyStanding::Active(device) => device.id != *id,
                KeyStanding::Replaced | KeyStanding::Revoked | KeyStanding::Unknown => true,
            })
        };
        join_all(devices.filter(counts_no_more).map(|id| self.links.close(id, Leaving::Revoked))).await;
    }

    async fn change_keys(&self, old: &SiteKeys, new: &SiteKeys, endpoints: &[quinn::Endpoint]) {
        if old.active.fingerprint != new.active.fingerprint {
            let taken = SiteIdentity::issue(&new.active.pkcs8)
                .map_err(|error| error.to_string())
                .and_then(|identity| self.acceptor.take_identity(&identity, endpoints).map_err(|e| e.to_string()));
            match taken {
                Ok(()) => info!(fingerprint = %new.active.fingerprint, "the site has a new key"),
                Err(error) => warn!(%error, "the new site key cannot be used; the old one stays"),
            }
        }
        self.links.tell_all(Message::Site(self.voice.site())).await;
    }
}

fn is_same(a: &SiteKeys, b: &SiteKeys) -> bool {
    let fingerprints = |keys: &SiteKeys| (keys.active.fingerprint, keys.successor.as_ref().map(|key| key.fingerprint));
    fingerprints(a) == fingerprints(b)
}
