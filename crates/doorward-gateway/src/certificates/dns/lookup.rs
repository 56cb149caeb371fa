//! What DNS says now, past every memory of our own.

use doorward_core::names::HostName;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

#[derive(Clone)]
pub(crate) struct Lookup(TokioResolver);

#[derive(Debug, Error)]
pub(crate) enum LookupError {
    #[error("this machine's resolver cannot be used: {0}")]
    Setup(String),
    #[error("DNS does not answer about {name}: {why}")]
    Silence { name: HostName, why: String },
}

const TRY_LIMIT: Duration = Duration::from_secs(4);

impl Lookup {
    /// `resolvers`: empty for those of this machine.
    pub(crate) fn new(resolvers: &[SocketAddr]) -> Result<Self, LookupError> {
        let unusable = |error: NetError| LookupError::Setup(error.to_string());
        let mut builder = if resolvers.is_empty() {
            TokioResolver::builder_tokio().map_err(unusable)?
        } else {
            let servers = resolvers.iter().map(|address| server(*address)).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = TRY_LIMIT;
        options.attempts = 2;
        builder.build().map(Self).map_err(unusable)
    }

    /// None if the name is not known.
    pub(crate) async fn addresses(&self, name: &HostName) -> Result<BTreeSet<IpAddr>, LookupError> {
        let (four, six) = tokio::join!(self.records(name, RecordType::A), self.records(name, RecordType::AAAA));
        let found = match (four, six) {
            // One answer tells where the name leads; that the other is missing must not hide it.
            (Err(error), Err(_)) => return Err(error),
            (four, six) => four.unwrap_or_default().into_iter().chain(six.unwrap_or_default()),
        };
        Ok(found.filter_map(|data| data.ip_addr()).collect())
    }

    pub(super) async fn texts(&self, name: &HostName) -> Result<Vec<String>, LookupError> {
        let text = |data: RData| match data {
            RData::TXT(text) => Some(text.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
            _ => None,
        };
        Ok(self.records(name, RecordType::TXT).await?.into_iter().filter_map(text).collect())
    }

    pub(super) async fn alias(&self, name: &HostName) -> Result<Option<HostName>, LookupError> {
        let alias = |data: RData| match data {
            RData::CNAME(target) => HostName::parse(&target.0.to_ascii()).ok(),
            _ => None,
        };
        Ok(self.records(name, RecordType::CNAME).await?.into_iter().find_map(alias))
    }

    async fn records(&self, name: &HostName, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        match self.0.lookup(format!("{name}."), kind).await {
            Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(LookupError::Silence { name: name.clone(), why: error.to_string() }),
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}
