//! The tables, as Markdown.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::figures::{Pairs, median};
use crate::loopback::Figures;
use crate::subjects::Subject;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// Rows of cells under a title row.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new<const N: usize>(title: [&str; N]) -> Self {
        let line = |cells: [&str; N]| cells.map(str::to_owned).to_vec();
        Self(vec![line(title), line(["---"; N])])
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }

    pub(crate) fn print(&self) {
        for row in &self.0 {
            println!("| {} |", row.join(" | "));
        }
        println!();
    }
}

/// Date, machine, load and versions: what every figure depends on.
pub(crate) fn print_circumstances(subjects: &[Subject], how: &str) -> Result<()> {
    let processors = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut versions: Vec<String> = Vec::new();
    for subject in subjects {
        let version = subject.version()?;
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    println!(
        "{}, {} processors, Linux {}, {}",
        jiff::Timestamp::now().strftime("%F %R UTC"),
        processors,
        kernel.trim(),
        how
    );
    println!("{}; load at the start {}\n", versions.join(", "), load());
    Ok(())
}

/// The load averages of 1 and 5 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

pub(crate) fn print(all: &[Figures]) {
    print_ratios(all);
    print_medians(all);
    if all.iter().any(|figures| !figures.pages.0.is_empty()) {
        print_pages(all);
    }
}

pub(crate) fn print_end(took: Duration) {
    println!("Load at the end {}; {:.0} s.", load(), took.as_secs_f64());
}

fn print_ratios(all: &[Figures]) {
    println!("Ratios to direct: rate · by CPU time. CPU is that of the tunnel's two ends.\n");
    let mut table = Table::new([
        "subject",
        "bulk, 1 stream",
        "bulk, 8 streams",
        "CPU-s/GiB (1 · 8)",
        "added to 1 byte to and fro, p50",
        "new connections",
        "CPU per connection",
        "RSS (server · client)",
        "for each of 1000 idle connections",
    ]);
    for figures in all {
        let Figures { subject, memory, one_stream, eight_streams, turns, connections, .. } = figures;
        table.row([
            subject.description().to_owned(),
            ratios(one_stream),
            ratios(eight_streams),
            format!("{:.2} · {:.2}", one_stream.own_cpu_each() * GIB, eight_streams.own_cpu_each() * GIB),
            format!("{:.0} µs", turns.added_turn() * 1e6),
            ratios(connections),
            format!("{:.0} µs", connections.own_cpu_each() * 1e6),
            format!("{:.1} · {:.1} MiB", memory.server as f64 / MIB, memory.client as f64 / MIB),
            format!("{} · {} KiB", memory.server_each / 1024, memory.client_each / 1024),
        ]);
    }
    table.print();
}

fn ratios(pairs: &Pairs) -> String {
    format!("{:.3} · {:.3}", pairs.ratio(), pairs.ratio_by_cpu())
}

fn print_medians(all: &[Figures]) {
    println!("Raw medians, and the lowest and highest ratio of a pair.\n");
    let mut table = Table::new(["subject", "MiB/s, 1 stream", "MiB/s, 8 streams", "1 byte, p50", "connections/s"]);
    let direct = |rate: fn(&Figures) -> f64| median(all.iter().map(rate).collect());
    table.row([
        "direct".to_owned(),
        format!("{:.0}", direct(|figures| figures.one_stream.direct_per_second() / MIB)),
        format!("{:.0}", direct(|figures| figures.eight_streams.direct_per_second() / MIB)),
        format!("{:.1} µs", direct(|figures| figures.turns.direct_turn() * 1e6)),
        format!("{:.0}", direct(|figures| figures.connections.direct_per_second())),
    ]);
    for Figures { subject, one_stream, eight_streams, turns, connections, .. } in all {
        table.row([
            subject.description().to_owned(),
            format!("{:.0} ({})", one_stream.per_second() / MIB, span(one_stream)),
            format!("{:.0} ({})", eight_streams.per_second() / MIB, span(eight_streams)),
            format!("{:.1} µs", turns.turn() * 1e6),
            format!("{:.0} ({})", connections.per_second(), span(connections)),
        ]);
    }
    table.print();
}

fn span(pairs: &Pairs) -> String {
    let (low, high) = pairs.lowest_and_highest_ratio();
    format!("{low:.3}–{high:.3}")
}

fn print_pages(all: &[Figures]) {
    println!("GETs of 1 KiB on 64 keep-alive connections: HTTPS entrance and tunnel, beside direct plain HTTP.\n");
    let mut table = Table::new(["subject", "rate · by CPU time", "CPU per request", "requests/s", "direct requests/s"]);
    for Figures { subject, pages, .. } in all.iter().filter(|figures| !figures.pages.0.is_empty()) {
        table.row([
            subject.description().to_owned(),
            ratios(pages),
            format!("{:.0} µs", pages.own_cpu_each() * 1e6),
            format!("{:.0} ({})", pages.per_second(), span(pages)),
            format!("{:.0}", pages.direct_per_second()),
        ]);
    }
    table.print();
}
