//! Floods of HTTP/2 frames, 100,000 steps each.

use crate::{Chapter, HOST, Site};
use anyhow::Result;
use doorward_lab::flood::{FLOODS, FloodEnd, flood, resident, waits};

const STEPS: u32 = 100_000;
const REQUESTS: usize = 300;

pub(crate) async fn run() -> Result<Chapter> {
    let site = Site::start().await;
    let http = site.lab.http();
    let mut text = format!(
        "{STEPS} steps of each over one connection, unless it is ended before; meanwhile another visitor asks \
         {REQUESTS} times.\n\n| flood | ended by | after steps | memory | another's p99 before | during |\n\
         |---|---|---|---|---|---|\n"
    );
    let mut failures = Vec::new();
    for class in FLOODS {
        let (_, before) = waits(http, HOST, REQUESTS).await;
        let memory = resident();
        let (flooded, (_, during)) = tokio::join!(flood(http, HOST, class, STEPS), waits(http, HOST, REQUESTS));
        let grown = resident().saturating_sub(memory) / 1024;
        let end = match flooded.end {
            FloodEnd::GoAway(code) => format!("GOAWAY {code}"),
            FloodEnd::Closed => "close".to_owned(),
            FloodEnd::StillOpen => "nothing".to_owned(),
        };
        let (word, steps) = (class.word(), flooded.frames);
        text.push_str(&format!("| {word} | {end} | {steps} | +{grown} KiB | {before:.1?} | {during:.1?} |\n"));
        if flooded.end == FloodEnd::StillOpen || grown > 10 * 1024 {
            failures.push(format!("{word}: {flooded:?}, +{grown} KiB"));
        }
    }
    Ok(Chapter { title: "HTTP/2 floods", text, failures })
}
