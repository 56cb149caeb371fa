//! What was measured of cameras, as Markdown.

use crate::figures::median;
use crate::report::Table;

const MEGA: f64 = 1e6;
/// Bytes of a picture, as they go up with what belongs to it.
const PICTURE: f64 = super::film::BYTES as f64;

/// What went up while so many looked.
pub(super) struct Up {
    pub(super) viewers: usize,
    pub(super) bytes_each_second: f64,
    /// Frames a second that each of them saw.
    pub(super) rate: f64,
}

impl Up {
    /// How often each picture that was seen went up.
    fn copies(&self) -> f64 {
        self.bytes_each_second / (PICTURE * self.rate)
    }
}

/// Of the pictures that one viewer saw, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Age {
    pub(super) half: f64,
    pub(super) most: f64,
    /// Pictures a second.
    pub(super) rate: f64,
}

/// All samples of one way, a sample for each round.
pub(super) struct Taken {
    name: String,
    pub(super) up: Vec<Up>,
    pub(super) wide: Vec<Age>,
    pub(super) thin: Vec<Age>,
    pub(super) slow: Vec<Age>,
}

impl Taken {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), up: Vec::new(), wide: Vec::new(), thin: Vec::new(), slow: Vec::new() }
    }
}

/// What the gateway spent on one crowd.
pub(super) struct Spent {
    pub(super) viewers: usize,
    pub(super) rate: f64,
    pub(super) cpu: f64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

pub(super) fn print(all: &[Taken]) {
    print_uploads(all);
    let direct = all.last().map(|taken| taken.wide.clone()).unwrap_or_default();
    print_added(all, &direct);
    let [camera, ..] = all else { return };
    println!("\nThe line carries a third of what is needed. Ages when seen, after 13 s of 20:\n");
    print_ages(all, &camera.thin, |taken| &taken.thin);
    println!("\nThe line carries all, and the viewer takes a third of it:\n");
    print_ages(all, &camera.slow, |taken| &taken.slow);
}

fn print_uploads(all: &[Taken]) {
    println!("MB/s up, and how often each picture that was seen went up (median; lowest–highest):\n");
    let mut table = Table::new(["way", "1 viewer", "5 viewers", "50 viewers", "frames a second each, of 50"]);
    for taken in all {
        let of = |viewers: usize, figure: &dyn Fn(&Up) -> f64| {
            taken.up.iter().filter(|up| up.viewers == viewers).map(figure).collect::<Vec<_>>()
        };
        let [one, five, fifty] = super::VIEWERS.map(|viewers| {
            let megabytes = median(of(viewers, &|up| up.bytes_each_second / MEGA));
            format!("{megabytes:.2} · {} ×", spread(of(viewers, &Up::copies), 1))
        });
        let seen = format!("{:.1}", median(of(super::VIEWERS[2], &|up| up.rate)));
        table.row([taken.name.clone(), one, five, fifty, seen]);
    }
    table.print();
}

fn print_added(all: &[Taken], direct: &[Age]) {
    println!(
        "\nAge when seen on a line that carries all, and what that is more than without a tunnel in the same round:\n"
    );
    let mut table = Table::new(["way", "age, p50", "age, p95", "more, p50", "more, p95"]);
    for taken in all {
        let of = |figure: fn(&Age) -> f64| taken.wide.iter().map(figure).collect::<Vec<_>>();
        let more = |figure: fn(&Age) -> f64| {
            let pairs = taken.wide.iter().zip(direct);
            spread(pairs.map(|(own, direct)| (figure(own) - figure(direct)) * 1000.0).collect(), 0) + " ms"
        };
        table.row([
            taken.name.clone(),
            format!("{:.0} ms", median(of(|age| age.half)) * 1000.0),
            format!("{:.0} ms", median(of(|age| age.most)) * 1000.0),
            more(|age| age.half),
            more(|age| age.most),
        ]);
    }
    table.print();
}

/// Beside the camera's ages of the same rounds.
fn print_ages(all: &[Taken], camera: &[Age], of: fn(&Taken) -> &Vec<Age>) {
    let mut table = Table::new(["way", "frames a second", "age, p50", "age, p95", "p95, the camera = 1"]);
    for taken in all {
        let ages = of(taken);
        let figures = |figure: fn(&Age) -> f64| median(ages.iter().map(figure).collect());
        let ratios = ages.iter().zip(camera).map(|(own, camera)| own.most / camera.most);
        table.row([
            taken.name.clone(),
            format!("{:.1}", figures(|age| age.rate)),
            format!("{:.2} s", figures(|age| age.half)),
            format!("{:.2} s", figures(|age| age.most)),
            spread(ratios.collect(), 1),
        ]);
    }
    table.print();
}

pub(super) fn print_spent(all: &[Spent]) {
    println!("\nWhat the gateway spends on viewers of the camera:\n");
    let mut table =
        Table::new(["viewers", "frames a second each", "MB/s out", "of a processor", "CPU for each MB out"]);
    for Spent { viewers, rate, cpu, bytes, seconds } in all {
        let megabytes = *bytes as f64 / MEGA;
        table.row([
            viewers.to_string(),
            format!("{rate:.1}"),
            format!("{:.1}", megabytes / seconds),
            format!("{:.0} %", cpu / seconds * 100.0),
            format!("{:.1} ms", cpu * 1000.0 / megabytes),
        ]);
    }
    table.print();
}

/// The median, and between what it is.
fn spread(figures: Vec<f64>, digits: usize) -> String {
    let (low, high) = figures
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| (low.min(*figure), high.max(*figure)));
    format!("{:.digits$} ({low:.digits$}–{high:.digits$})", median(figures))
}
