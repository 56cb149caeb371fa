//! gRPC through a gateway, with the real library at both ends.

use anyhow::{Context, Result, ensure};
use doorward_world::site::{GATEWAY_FILE, SOON, Site};
use doorward_world::{Node, Program, Shape, World, addresses, until};
use std::path::Path;
use std::time::Duration;

const HOST: &str = "rpc-zumi.gateway.example";
const AGENT_FILE: &str =
    "[[service]]\nname = \"rpc\"\ntarget = \"h2c://127.0.0.1:50051\"\naccess = { who = \"public\" }\n";

fn python(name: &str, words: &[&str]) -> Program {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    // Its own resolver does not look where this world's names are.
    let program = Program::new("/usr/bin/python3").env("GRPC_DNS_RESOLVER", "native");
    program.args([path]).args(words)
}

fn call(visitor: &Node, host: &str, what: &str) -> Result<String> {
    visitor.run_program(&python("caller.py", &[host, what]), Duration::from_secs(120))?.ok()
}

#[test]
fn grpc_passes_in_all_its_kinds_with_errors_cancellation_and_deadlines() -> Result<()> {
    let world = World::build(Shape::home())?;
    for host in [HOST, "unknown.gateway.example"] {
        world.point(host, &addresses::GATEWAY)?;
    }
    let mut service = world.device.spawn(&python("calls.py", &["50051"]))?;
    service.wait_for_line("serving", SOON)?;
    let mut site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    until(SOON, "the service is registered", || Ok(call(&world.visitor, HOST, "ask")?.trim() == "HELLO"))?;

    let said = call(&world.visitor, HOST, "all")?;
    let kinds = [
        "unary",
        "server streaming",
        "client streaming",
        "both ways, each answer before the next word",
        "64 MiB",
        "an error with its trailers",
        "an unknown method",
        "cancelled",
        "a deadline",
        "left",
    ];
    ensure!(said.lines().eq(kinds), "{said}");
    for (how, within) in [("cancelled", 1.0), ("deadline", 2.0), ("left", 1.0)] {
        service.wait_for_line(&format!("{how} ended after"), SOON)?;
        let log = service.log();
        let line = log.lines().find(|line| line.contains(&format!("{how} ended after"))).context("the line")?;
        let seconds: f64 = line.split_whitespace().next_back().context("a number")?.parse()?;
        println!("{how}: the service heard of it after {seconds} s");
        ensure!(seconds < within, "{line}");
    }
    ensure!(call(&world.visitor, HOST, "long")?.trim() == "a silent call");

    let unknown = call(&world.visitor, "unknown.gateway.example", "ask")?;
    ensure!(unknown.starts_with("UNAUTHENTICATED: Token needed"), "{unknown}");
    service.kill()?;
    let refused = call(&world.visitor, HOST, "ask")?;
    ensure!(refused.starts_with("UNAVAILABLE") && refused.contains("nothing listens"), "{refused}");
    site.agent.stop(SOON)?;
    until(SOON, "the device is said to be offline", || {
        let offline = call(&world.visitor, HOST, "ask")?;
        ensure!(offline.starts_with("UNAVAILABLE"), "{offline}");
        Ok(offline.contains("the device is offline"))
    })?;
    Ok(())
}
