use crate::settings::SettingsError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why the daemon cannot do its work.
#[derive(Debug, Error)]
pub enum RouterError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{0} cannot be listened on: is the directory there, and another daemon gone?")]
    Socket(PathBuf, #[source] io::Error),
    #[error(
        "{0} is needed and was not given: start it by `doorward install router`, as root, or with that \
         capability as ambient one"
    )]
    NoRights(&'static str),
    #[error("rights could not be given up ({0}), so it does not start")]
    Rights(&'static str, #[source] io::Error),
    #[error("there is still {0} after rights were given up, so it does not start")]
    RightsLeft(String),
    #[error("there is no user \"{0}\" on this machine: make one, or name another in the file (`user`, `agent`)")]
    NoUser(String),
    #[error("there is no `nft` on this machine: install nftables")]
    NoNft,
    #[error("there is no `iptables` with its -save and -restore on this machine: install iptables")]
    NoIptables,
    #[error("no firewall of this machine's works: {nftables}; {iptables}")]
    NoFirewall { nftables: Box<RouterError>, iptables: Box<RouterError> },
    #[error("{0} cannot be run")]
    Run(PathBuf, #[source] io::Error),
    #[error("nft refused: {0}")]
    Nft(String),
    #[error("{0} refused: {1}")]
    Iptables(PathBuf, String),
    #[error("another program has held the lock of iptables for {0:?}")]
    Locked(Duration),
    #[error("what the firewall lists cannot be read: {0}")]
    Listing(String),
    #[error("what stands in the kernel is not what was written: {0}")]
    NotVerified(String),
    #[error("the kernel's memory of connections cannot be read; is nf_conntrack_netlink there?")]
    Conntrack(#[source] io::Error),
    #[error("{0} lets packets pass unseen, so a session could not be ended: switch that off, or do without pinholes")]
    Offload(String),
    #[error("the socket cannot be waited on")]
    Wait(#[source] io::Error),
}

/// What a program says of its failure.
pub(crate) fn first_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().take(3).map(str::trim).collect::<Vec<_>>().join(" / ").chars().take(400).collect()
}
