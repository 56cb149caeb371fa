//! The gateway's machine is lost and its data restored elsewhere; no device is visited for that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, Poll, SOON, Site, report};
use doorward_world::{Node, Shape, World, addresses, until};

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

    // Somewhere safe: here, the other machine's disk.
    let (backup, passphrase) = (other.folder().join("gateway.age"), other.folder().join("passphrase"));
    fs::write(&passphrase, "a long enough passphrase\n")?;
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
    let backing_up = site::doorward(["backup", "--passphrase-file"])?.args([&passphrase, &backup]);
    let backing_up = backing_up.args(["--data".into(), site::data(&world.gateway)]);
    let backing_up = backing_up.args(["--config".into(), site::gateway_settings(&world.gateway)]);
    world.gateway.run_program(&backing_up, SOON)?.ok()?;

    world.gateway.vanish()?;
    site.gateway.kill()?;
    let restoring = site::doorward(["restore", "--passphrase-file"])?.args([&passphrase, &backup]);
    other.run_program(&restoring.args(["--data".into(), site::data(other)]), SOON)?.ok()?;
    fs::copy(site::gateway_settings(&world.gateway), site::gateway_settings(other))?;
    site.agent.wait_for_line("the link ended", SOON)?;
    let mut poll = Poll::waiting(&world.visitor, addresses::OTHER_GATEWAY[0])?;
    let mark = site.agent.log().len();
    let event = SystemTime::now();
    site.gateway = site::serve(other)?;
    let took = poll.served_since(event, Duration::from_secs(60))?;
    report("gateway restored at its other address", took, Duration::from_secs(5))?;
    site.agent.wait_for_line_after(mark, "connected", SOON).map(drop)
}

fn site_key(gateway: &Node, words: &[&str]) -> Result<String> {
    let program = site::doorward(["site-key"])?.args(words).args(["--data".into(), site::data(gateway)]);
    gateway.run_program(&program, SOON)?.ok()
}

#[test]
fn after_the_site_key_was_rotated_every_agent_is_back_untouched() -> Result<()> {
    let world = World::build(Shape::home())?;
    let mut site = Site::start(&world)?;
    let mut poll = Poll::of(&world)?;
    let before = site_key(&world.gateway, &["show"])?;
    site_key(&world.gateway, &["rotate"])?;
    until(SOON, "the device has stored the next key", || Ok(site_key(&world.gateway, &["activate"]).is_ok()))?;
    let after = site_key(&world.gateway, &["show"])?;
    ensure!(before.lines().next() != after.lines().next(), "{before}\n{after}");

    // Whoever connects from now on sees the new key alone.
    site.gateway.kill()?;
    site.gateway = site::serve(&world.gateway)?;
    poll.served_since(SystemTime::now(), SOON)?;
    site.agent.kill()?;
    site.agent = site::run_agent(&world.device)?;
    poll.served_since(SystemTime::now(), SOON).map(drop)
}
