//! What opening, deciding and looking cost in a store with 100 000 sessions and 10 000 services, beside a small one. By CPU
//! time, in pairs, as a test; and by instructions, which repeat exactly, under callgrind.

mod counting;
mod deeds;
mod store;

use anyhow::{Context, Result, ensure};
use deeds::{Deed, House};
use std::path::Path;
use std::time::Duration;
use store::{GROWN, SMALL, Size};

const ROUNDS: usize = 25;
/// The child that is counted.
pub(crate) const COUNTED: &str = "scale-counted";

/// One deed in both stores.
struct Figure {
    deed: Deed,
    small: f64,
    grown: f64,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.grown / self.small
    }
}

pub(crate) async fn run() -> Result<()> {
    println!("| deed | small | grown | ratio |\n| --- | --- | --- | --- |");
    for figure in by_time().await? {
        let milliseconds = |seconds: f64| format!("{:.3} ms", seconds * 1e3);
        let (small, grown) = (milliseconds(figure.small), milliseconds(figure.grown));
        println!("| {} | {small} | {grown} | {:.2} |", figure.deed, figure.ratio());
    }
    match counting::by_instructions().await? {
        None => eprintln!("instructions are not counted, because valgrind is not installed: apt-get install valgrind"),
        Some(figures) => {
            println!("\n| deed, instructions | small | grown | ratio |\n| --- | --- | --- | --- |");
            for figure in figures {
                println!("| {} | {:.0} | {:.0} | {:.2} |", figure.deed, figure.small, figure.grown, figure.ratio());
            }
        }
    }
    Ok(())
}

/// The part of the child: opens the store, and does each deed when it is told to.
pub(crate) async fn counted(arguments: &[String]) -> Result<()> {
    let folder = arguments.first().context("which store?")?;
    counting::obey(&House::open(Path::new(folder)).await?).await
}

/// CPU time of the whole process, the store's own threads included: the least of all rounds, in seconds. Both stores
/// take turns, so that a slow minute of the machine hits both.
async fn by_time() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let small = house(&folder.path().join("small"), &SMALL).await?;
    let grown = house(&folder.path().join("grown"), &GROWN).await?;
    let mut figures = Vec::new();
    for deed in deeds::ALL {
        let (mut of_small, mut of_grown) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            of_small = of_small.min(spent(&small, deed).await?);
            of_grown = of_grown.min(spent(&grown, deed).await?);
        }
        figures.push(Figure { deed, small: of_small, grown: of_grown });
    }
    small.close().await;
    grown.close().await;
    Ok(figures)
}

async fn house(folder: &Path, size: &Size) -> Result<House> {
    store::fill(folder, size).await?;
    House::open(folder).await
}

async fn spent(house: &House, deed: Deed) -> Result<f64> {
    let before = cpu_time()?;
    house.run(deed).await.with_context(|| deed.to_string())?;
    let spent = cpu_time()?.saturating_sub(before);
    ensure!(spent > Duration::ZERO, "the clock stands still");
    Ok(spent.as_secs_f64())
}

/// Of all threads, to the nanosecond (proc(5), schedstat).
fn cpu_time() -> Result<Duration> {
    // What runs now is entered when it is looked at by the scheduler.
    std::thread::yield_now();
    let mut spent = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        spent += text.split(' ').next().context("a figure")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(spent))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What costs more than so many times as much is to be mended.
    const BOUND: f64 = 2.0;

    /// What was dear by accident, since others kept the machine's caches busy, is not dear each time.
    const TRIES: usize = 3;

    #[tokio::test]
    async fn with_a_hundred_thousand_sessions_and_ten_thousand_services_nothing_costs_twice_as_much() {
        let mut dear: Vec<String> = Vec::new();
        for round in 0..TRIES {
            let figures = by_time().await.unwrap();
            assert_eq!(figures.len(), deeds::ALL.len());
            for figure in &figures {
                println!("{:>6.2}  {:>8.1} µs  {}", figure.ratio(), figure.grown * 1e6, figure.deed);
            }
            let above = figures.iter().filter(|figure| figure.ratio() > BOUND).map(|figure| figure.deed.to_string());
            let above: Vec<_> = above.filter(|deed| round == 0 || dear.contains(deed)).collect();
            dear = above;
            if dear.is_empty() {
                return;
            }
        }
        panic!("above {BOUND} in each of {TRIES} rounds: {dear:?}");
    }
}
