//! A film over a WebSocket, as go2rtc's stream page has it: H.264 by real ffmpeg in a real browser, through a web service. go2rtc
//! itself is no Debian package; a small server speaks its messages.

use anyhow::{Context, Result, ensure};
use doorward_peers::browser::Browser;
use doorward_peers::{SOON, until_served};
use doorward_world::front::wait_for_port;
use doorward_world::site::{GATEWAY_FILE, Site};
use doorward_world::{Program, Shape, World, addresses};
use std::path::Path;

const AGENT_FILE: &str = r#"
[[service]]
name = "go2rtc"
target = "http://127.0.0.1:1984"
access = { who = "public" }
"#;
const URL: &str = "https://go2rtc-zumi.gateway.example/stream.html?src=cam";
const STATE: &str = "({ socket: socket.readyState, source: source.readyState, waiting: waiting.length, error: video.error?.message, \
    state: video.readyState, at: video.currentTime, paused: video.paused, ends: video.buffered.length && video.buffered.end(0) })";

#[test]
fn a_browser_plays_the_film_of_a_websocket_and_its_end_reaches_the_camera() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    world.point("go2rtc-zumi.gateway.example", &addresses::GATEWAY)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/go2rtc.py");
    let mut server = world.device.spawn(&Program::new("/usr/bin/python3").args([script]))?;
    wait_for_port(&world.device, 1984)?;
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    until_served(&world.visitor, URL, 200)?;
    let mut browser = Browser::start(&world.visitor)?;
    browser.open(URL)?;
    let plays = browser.until(SOON, "video.videoWidth === 640 && video.currentTime > 1");
    plays.with_context(|| format!("{:?} {:?}", browser.evaluate(STATE), browser.problems()))?;
    // It goes on, and is not what was there at once.
    let behind = browser.evaluate(
        "(async () => { const [from, at] = [video.currentTime, performance.now()]; await new Promise((done) => setTimeout(done, 3000));
           return Math.abs((performance.now() - at) / 1000 - (video.currentTime - from)); })()",
    )?;
    println!("peers: in three seconds of film it fell behind by {behind} s");
    ensure!(behind.as_f64().is_some_and(|behind| behind < 1.5), "{behind}");
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()?;
    server.wait_for_line("the viewer went", SOON).map(drop)
}
