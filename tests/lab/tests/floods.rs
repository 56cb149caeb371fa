//! Floods of HTTP/2 frames: each is ended, costs little memory, and leaves other visitors served.

use doorward_lab::flood::{FLOODS, FloodEnd, flood, resident, waits};
use doorward_lab::visitor::get;
use doorward_lab::web::{ok, web};
use doorward_lab::{Lab, service};

const HOST: &str = "page-pi.gw.test";
const STEPS: u32 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_flood_is_ended_and_costs_little() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let (_, before) = waits(lab.http(), HOST, 100).await;
    let mut failures = Vec::new();
    for class in FLOODS {
        let memory = resident();
        let (flooded, (_, during)) = tokio::join!(flood(lab.http(), HOST, class, STEPS), waits(lab.http(), HOST, 100));
        let grown = resident().saturating_sub(memory) / 1024;
        println!("{:<26} {flooded:?}, +{grown} KiB, p99 {before:?} → {during:?}", class.word());
        if flooded.end == FloodEnd::StillOpen || grown > 10 * 1024 {
            failures.push((class, flooded, grown));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "page");
}
