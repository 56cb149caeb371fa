//! The gateway's machine is lost and its data restored elsewhere; no device is visited for that.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, Poll, SOON, Site, report};
use doorward_world::{Shape, World, addresses};
use std::time::Duration;

/// The agents know both addresses from their invites on.
const TWO_ADDRESSES: &str = r#"
domain = "gateway.example"
addresses = ["203.0.113.10:443", "203.0.113.20:443"]
[listen]
https = ["0.0.0.0:443"]
quic = ["0.0.0.0:443"]
http = ["0.0.0.0:80"]
"#;

#[test]
fn a_gateway_restored_at_its_second_address_has_every_agent_back_untouched() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat().with_other_gateway())?;
    let mut site = Site::start_with(&world, TWO_ADDRESSES, AGENT_FILE)?;
    Poll::of(&world)?;
    let other = world.other_gateway()?;

    world.gateway.vanish()?;
    site.gateway.kill()?;
    fs::copy(site::gateway_settings(&world.gateway), site::gateway_settings(other))?;
    let copied = Command::new("cp").arg("-a").arg(site::data(&world.gateway)).arg(site::data(other)).status()?;
    ensure!(copied.success(), "{copied}");

    let mut poll = Poll::waiting(&world.visitor, addresses::OTHER_GATEWAY[0])?;
    let mark = site.agent.log().len();
    let event = SystemTime::now();
    site.gateway = site::serve(other)?;
    let took = poll.served_since(event, Duration::from_secs(60))?;
    report("gateway restored at its other address", took, Duration::from_secs(5))?;
    site.agent.wait_for_line_after(mark, "connected", SOON).map(drop)
}
