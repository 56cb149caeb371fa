//! RTSP as most cameras and players speak it, pictures and sound interleaved in its one connection: nothing but TCP to
//! Doorward. ffmpeg is the visitor; as a server it only takes in (ANNOUNCE, RECORD), and what plays is served by GStreamer.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_world::front::wait_for_port;
use doorward_world::site::{GATEWAY_FILE, Site};
use doorward_world::{Program, Shape, World, until};
use std::path::Path;

const AGENT_FILE: &str = r#"
[[service]]
name = "rtsp"
target = "tcp://127.0.0.1:8554"
entrances = [{ tcp-port = 20554 }]
access = { who = "public" }
"#;

#[test]
fn ffmpegs_rtsp_over_tcp_goes_through_a_port() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let mut site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    // A new port is tried from outside, once; ffmpeg would take that for its one visitor.
    site.agent.wait_for_line("visitors cannot be connected", SOON)?;
    let server = "ffmpeg -hide_banner -nostats -progress pipe:1 -stats_period 0.2 -rtsp_flags listen \
                  -i rtsp://127.0.0.1:8554/live -f null -";
    let mut server = world.device.spawn(&Program::new("sh").args(["-c", &format!("exec {server} </dev/null")]))?;
    wait_for_port(&world.device, 8554)?;
    let film = "ffmpeg -hide_banner -loglevel warning -re -f lavfi -i testsrc=s=640x360:r=10 -t 10 -c:v mpeg4 \
                -f rtsp -rtsp_transport tcp rtsp://gateway.example:20554/live";
    let mut film = world.visitor.spawn(&Program::new("sh").args(["-c", &format!("exec {film} </dev/null")]))?;
    let sent = film.wait(SOON)?;
    ensure!(sent.success(), "{sent}: {}", film.log());
    let told = server.wait_for_line("progress=end", SOON).map(|_| server.log())?;
    let frames = told.lines().rev().find_map(|line| line.strip_prefix("frame=")).context("it counts frames")?;
    println!("peers: {frames} frames of 100 came through RTSP");
    ensure!(frames.trim().parse::<u32>()? >= 95, "{told}");
    Ok(())
}

#[test]
fn ffmpeg_plays_what_an_rtsp_camera_films() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/rtsp.py");
    let mut camera =
        world.device.spawn(&Program::new("/usr/bin/python3").args([script]).env("HOME", world.device.folder()))?;
    camera.wait_for_line("ready", SOON)?;
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    // As docs/cameras.md has it.
    let play = "ffmpeg -hide_banner -nostats -progress pipe:1 -loglevel warning -rtsp_transport tcp -timeout 10000000 \
                -i rtsp://gateway.example:20554/live -frames:v 50 -f null - </dev/null";
    let mut told = String::new();
    until(SOON * 2, "the film plays", || {
        told = world.visitor.run(play)?.ok()?;
        Ok(told.contains("progress=end"))
    })?;
    let frames = told.lines().rev().find_map(|line| line.strip_prefix("frame=")).context("it counts frames")?;
    println!("peers: {frames} frames were played through RTSP");
    ensure!(frames.trim() == "50", "{told}");
    Ok(())
}
