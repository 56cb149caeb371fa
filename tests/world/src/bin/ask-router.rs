//! Asks the router of this network namespace for port mappings, and tells what becomes of them.
//!
//! ```text
//! ask-router LEDGER 3600 60 - web:tcp:8000:40080 ssh:tcp:22:=443:198.51.100.10
//! ```
//!
//! Lease and time between looks in seconds; the address that a gateway sees, if one does; then wishes: a name, protocol, port of this machine, port of the router
//! (0: any; `=`: exactly), and who may come through (nobody else, or else no mapping). One line for each change:
//! `open web 198.51.100.77:40080 by PCP`. SIGTERM withdraws all.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use doorward_portmap::{ExternalPort, PortMapper, Protocol, Settings, Sources, State, Wish, WishName};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ledger, lease, check, seen, words @ ..] = arguments.as_slice() else { anyhow::bail!("see the source") };
    let seconds = |text: &str| anyhow::Ok(Duration::from_secs(text.parse()?));
    let settings = Settings { lease: seconds(lease)?, check: seconds(check)?, ..Settings::new(PathBuf::from(ledger)) };
    let mapper = PortMapper::start(settings).await?;
    mapper.seen_from(Some(seen.as_str()).filter(|seen| *seen != "-").map(str::parse).transpose()?);
    mapper.wish(words.iter().map(|word| wish(word).with_context(|| word.clone())).collect::<Result<_>>()?);
    let mut reports = mapper.reports();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut told = Vec::new();
    loop {
        let report = reports.borrow_and_update().clone();
        let mut lines: Vec<_> = report.mappings.iter().map(|(name, state)| line(name, state)).collect();
        lines.push(format!("leftovers {}", report.leftovers));
        lines.iter().filter(|line| !told.contains(*line)).for_each(|line| println!("{line}"));
        told = lines;
        tokio::select! {
            _ = terminate.recv() => break,
            changed = reports.changed() => changed?,
        }
    }
    mapper.stop().await;
    println!("stopped, leftovers {}", reports.borrow().leftovers);
    Ok(())
}

fn line(name: &str, state: &State) -> String {
    match state {
        State::Asked => format!("asked {name}"),
        State::Open(open) => {
            let restricted = if open.is_restricted { " restricted" } else { "" };
            let permanent = if open.until.is_none() { " permanent" } else { "" };
            format!("open {name} {}:{} by {}{restricted}{permanent}", open.address, open.port, open.way)
        }
        State::Failed(why) => format!("failed {name}: {why}"),
    }
}

fn wish(word: &str) -> Result<(WishName, Wish)> {
    let parts: Vec<_> = word.split(':').collect();
    let [name, protocol, internal, external, sources @ ..] = parts.as_slice() else { anyhow::bail!("too short") };
    let exactly = external.strip_prefix('=').map(|port| port.parse()).transpose()?.map(ExternalPort::Exactly);
    let preferred = || Ok::<_, std::num::ParseIntError>(NonZeroU16::new(external.parse()?));
    let external_port = match exactly {
        Some(exactly) => exactly,
        None => preferred()?.map_or(ExternalPort::Any, ExternalPort::Prefer),
    };
    let sources = match sources.first() {
        Some(list) => Sources::Only(list.split(',').map(str::parse).collect::<Result<_, _>>()?),
        None => Sources::Anyone,
    };
    let protocol = if *protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    Ok(((*name).to_owned(), Wish { protocol, internal_port: internal.parse()?, external_port, sources, ends: None }))
}
