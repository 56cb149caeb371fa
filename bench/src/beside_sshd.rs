//! `ssh -R` to Doorward beside the same `ssh -R` to sshd: pairs of samples, first to the one, then to the other.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::figures::{Pair, Pairs};
use crate::loopback::{pin_to, site_here, until_open};
use crate::report::Table;
use crate::sample::{Task, sample};
use crate::site::{Site, Tunnel};
use crate::subjects::{Cipher, SshServer, Subject};

const MIB: f64 = (1u64 << 20) as f64;
const GIB: f64 = (1u64 << 30) as f64;
const CIPHERS: [Cipher; 2] = [Cipher::ChaCha20, Cipher::Aes128];

pub(crate) const SUBJECTS: [Subject; 2] =
    [Subject::Ssh(SshServer::Sshd, Cipher::ChaCha20), Subject::Ssh(SshServer::Doorward, Cipher::ChaCha20)];

/// One thing that is measured.
#[derive(Clone, Copy)]
enum Measure {
    Download(usize),
    Upload(usize),
    Turns,
    Connections,
}

const MEASURES: [Measure; 6] = [
    Measure::Download(1),
    Measure::Download(8),
    Measure::Upload(1),
    Measure::Upload(8),
    Measure::Turns,
    Measure::Connections,
];

/// Both servers with the same cipher.
struct Both {
    cipher: Cipher,
    sshd: Tunnel,
    doorward: Tunnel,
    pairs: [Pairs; MEASURES.len()],
}

pub(crate) async fn run(rounds: usize, processors: usize) -> Result<()> {
    pin_to(processors)?;
    let folder = tempfile::Builder::new().prefix("doorward-bench").tempdir()?;
    let (site, _backend) = site_here(folder.path()).await?;
    let mut all = Vec::new();
    for cipher in CIPHERS {
        all.push(Both::start(&site, cipher).await?);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for both in &mut all {
            both.round().await?;
        }
    }
    print(&all);
    Ok(())
}

impl Both {
    async fn start(site: &Site, cipher: Cipher) -> Result<Self> {
        let start = async |server| {
            let subject = Subject::Ssh(server, cipher);
            eprintln!("{}: start", subject.name());
            let tunnel = subject.start(site).await.with_context(|| subject.name())?;
            until_open(tunnel.entrance).await.with_context(|| subject.name())?;
            anyhow::Ok(tunnel)
        };
        let (sshd, doorward) = (start(SshServer::Sshd).await?, start(SshServer::Doorward).await?);
        Ok(Self { cipher, sshd, doorward, pairs: Default::default() })
    }

    async fn round(&mut self) -> Result<()> {
        for (measure, pairs) in MEASURES.into_iter().zip(&mut self.pairs) {
            let of = async |tunnel: &Tunnel| sample(tunnel, measure.task(tunnel.entrance)).await;
            // Who is first takes turns.
            let pair = if pairs.0.len() % 2 == 0 {
                let direct = of(&self.sshd).await?;
                Pair { direct, tunnel: of(&self.doorward).await? }
            } else {
                let tunnel = of(&self.doorward).await?;
                Pair { direct: of(&self.sshd).await?, tunnel }
            };
            pairs.0.push(pair);
        }
        Ok(())
    }
}

impl Measure {
    fn task(self, at: SocketAddr) -> Task {
        match self {
            Self::Download(streams) => Task::Download { at, streams },
            Self::Upload(streams) => Task::Upload { at, streams },
            Self::Turns => Task::Turns { at },
            Self::Connections => Task::Connections { at },
        }
    }

    fn name(self) -> String {
        let streams = |streams| if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
        match self {
            Self::Download(count) => format!("device to visitor, {}", streams(count)),
            Self::Upload(count) => format!("visitor to device, {}", streams(count)),
            Self::Turns => "1 byte to and fro".to_owned(),
            Self::Connections => "new connections".to_owned(),
        }
    }

    fn rates(self, pairs: &Pairs) -> String {
        let (doorward, sshd) = (pairs.per_second(), pairs.direct_per_second());
        match self {
            Self::Download(_) | Self::Upload(_) => format!("{:.0} · {:.0} MiB/s", doorward / MIB, sshd / MIB),
            Self::Turns => format!("{:.1} · {:.1} µs, p50", pairs.turn() * 1e6, pairs.direct_turn() * 1e6),
            Self::Connections => format!("{doorward:.0} · {sshd:.0} a second"),
        }
    }

    fn server_cpu(self, pairs: &Pairs) -> String {
        let (doorward, sshd) = pairs.server_cpu_each();
        match self {
            Self::Download(_) | Self::Upload(_) => format!("{:.2} · {:.2} s/GiB", doorward * GIB, sshd * GIB),
            Self::Turns | Self::Connections => format!("{:.0} · {:.0} µs", doorward * 1e6, sshd * 1e6),
        }
    }
}

fn print(all: &[Both]) {
    println!(
        "`ssh -R` to Doorward beside sshd (sshd = 1). Rates are medians; CPU is the server's, over all samples.\n"
    );
    let mut table = Table::new([
        "cipher, measure",
        "rate (lowest–highest)",
        "rate by CPU time",
        "server CPU each",
        "doorward · sshd",
        "server CPU",
    ]);
    for both in all {
        for (measure, pairs) in MEASURES.into_iter().zip(&both.pairs) {
            let cipher = match both.cipher {
                Cipher::ChaCha20 => "chacha20-poly1305",
                Cipher::Aes128 => "aes128-gcm",
            };
            let (low, high) = pairs.lowest_and_highest_ratio();
            let (doorward, sshd) = pairs.server_cpu_each();
            table.row([
                format!("{cipher}, {}", measure.name()),
                format!("{:.2} ({low:.2}–{high:.2})", pairs.ratio()),
                format!("{:.2}", pairs.ratio_by_cpu()),
                format!("{:.2}", doorward / sshd),
                measure.rates(pairs),
                measure.server_cpu(pairs),
            ]);
        }
    }
    table.print();
}
