//! The world is wired as its page says.

use std::time::Duration;

use anyhow::{Result, ensure};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};

const SOON: Duration = Duration::from_secs(10);

fn serve_echo(node: &Node, port: u16) -> Result<Process> {
    let listen = format!("TCP6-LISTEN:{port},ipv6only=0,fork,reuseaddr");
    let mut process = node.spawn(&Program::new("socat").args(["-d", "-d", &listen, "SYSTEM:cat"]))?;
    process.wait_for_line("listening on", SOON)?;
    Ok(process)
}

#[test]
fn the_device_reaches_the_gateway_through_two_nats_and_nobody_reaches_the_device() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let mut web =
        world.gateway.spawn(&Program::new("/usr/bin/python3").args(["-um", "http.server", "80", "--bind", "::"]))?;
    web.wait_for_line("Serving HTTP", SOON)?;
    world.device.run("curl -sS --max-time 5 http://gateway.example/")?.ok()?;
    let seen = web.wait_for_line("GET /", SOON)?;
    ensure!(seen.contains(&addresses::CARRIER.to_string()), "{seen}");

    let _device = serve_echo(&world.device, 22)?;
    for target in [addresses::DEVICE[0], addresses::HOME_AT_CARRIER, addresses::CARRIER] {
        let output = world.gateway.run(&format!("echo hello | socat -T2 - TCP:{target}:22,connect-timeout=1"))?;
        ensure!(!output.succeeded(), "the gateway reached {target}");
    }
    Ok(())
}

#[test]
fn visitors_reach_the_gateway_over_ipv4_and_ipv6() -> Result<()> {
    let world = World::build(Shape::home().with_hidden_visitor().with_other_gateway())?;
    for visitor in [&world.visitor, &world.other_visitor] {
        for address in addresses::GATEWAY.iter().chain(&addresses::OTHER_GATEWAY) {
            visitor.run(&format!("ping -c1 -W2 {address}"))?.ok()?;
        }
    }
    world.hidden_visitor()?.run("ping -4 -c1 -W2 gateway.example")?.ok()?;
    ensure!(!world.gateway.run(&format!("ping -c1 -W1 {}", addresses::HIDDEN_VISITOR))?.succeeded());
    Ok(())
}

#[test]
fn two_devices_share_a_local_network_and_a_home_may_have_ipv6() -> Result<()> {
    let world = World::build(Shape::home().with_second_device().with_ipv6_at_home())?;
    for address in addresses::SECOND_DEVICE {
        world.device.run(&format!("ping -c1 -W2 {address}"))?.ok()?;
    }
    world.device.run("ping -6 -c1 -W2 gateway.example")?.ok()?;
    let inward = world.gateway.run(&format!("ping -c1 -W1 {}", addresses::DEVICE[1]))?;
    ensure!(!inward.succeeded(), "the home's firewall let a stranger in");
    // A broadcast (Wake-on-LAN) reaches the neighbour.
    let listener = "exec socat -u UDP-RECV:9 OPEN:heard,creat,append,sync=1";
    let folder = world.second_device()?.folder();
    let _listener = world.second_device()?.spawn(&Program::shell(listener).in_folder(&folder))?;
    until(SOON, "the neighbour hears the broadcast", || {
        world.device.run("echo wake | socat - UDP-DATAGRAM:192.168.77.255:9,broadcast")?.ok()?;
        Ok(std::fs::read_to_string(folder.join("heard"))?.contains("wake"))
    })?;
    Ok(())
}

#[test]
fn a_name_can_be_pointed_elsewhere_while_programs_run() -> Result<()> {
    let world = World::build(Shape::home().with_other_gateway())?;
    let asked = |name: &str| world.device.run(&format!("getent ahostsv4 {name}"));
    ensure!(asked("gateway.example")?.ok()?.contains("203.0.113.10"));
    world.point("gateway.example", &addresses::OTHER_GATEWAY)?;
    ensure!(asked("gateway.example")?.ok()?.contains("203.0.113.20"));
    world.point("gateway.example", &[])?;
    ensure!(!asked("gateway.example")?.succeeded());
    ensure!(!std::fs::read_to_string("/etc/hosts")?.contains("gateway.example"), "the machine's own file changed");
    Ok(())
}

#[test]
fn unknown_names_are_asked_of_the_given_server_only() -> Result<()> {
    let world = World::build(Shape::home())?;
    let script = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); print('asked soon'); \
                  print('was asked', s.recv(512))";
    let mut server = world.visitor.spawn(&Program::new("/usr/bin/python3").args(["-uc", script]))?;
    server.wait_for_line("asked soon", SOON)?;
    ensure!(!world.device.run("getent ahostsv4 printer.example")?.succeeded());
    world.device.ask_names_of(addresses::VISITOR[0])?;
    ensure!(!world.device.run("getent ahostsv4 printer.example")?.succeeded());
    server.wait_for_line("printer", SOON).map(drop)
}

#[test]
fn an_address_moves_to_another_gateway() -> Result<()> {
    let world = World::build(Shape::home().with_other_gateway())?;
    let reaches = |node: &Node, port: u16| -> Result<bool> {
        let [ip, _] = addresses::GATEWAY;
        let _here = serve_echo(node, port)?;
        let output = world.device.run(&format!("echo hi | socat -T2 - TCP:{ip}:{port},connect-timeout=2"))?;
        Ok(output.stdout == "hi\n")
    };
    ensure!(reaches(&world.gateway, 7)?);
    world.move_address(addresses::GATEWAY[0], world.other_gateway()?)?;
    ensure!(reaches(world.other_gateway()?, 8)?);
    ensure!(!world.gateway.addresses().contains(&addresses::GATEWAY[0]));

    let second = world.gateway.add_addresses(&addresses::GATEWAY_SPARE)?;
    for address in addresses::GATEWAY_SPARE {
        world.visitor.run(&format!("ping -c1 -W2 {address}"))?.ok()?;
    }
    second.mend()?;
    ensure!(!world.visitor.run(&format!("ping -c1 -W1 {}", addresses::GATEWAY_SPARE[0]))?.succeeded());
    Ok(())
}

#[test]
fn counters_tell_the_bytes_of_ip_packets() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.device.run("ping -4 -c1 gateway.example")?.ok()?;
    let before = world.device.traffic()?;
    world.device.run("ping -4 -q -c10 -i0.01 -s100 gateway.example")?.ok()?;
    let carried = world.device.traffic()?.since(before);
    // 100 bytes, 8 of ICMP, 20 of IP; an ARP question may come in between.
    ensure!((1280..=1280 + 28).contains(&carried.sent.bytes), "{carried:?}");
    ensure!((1280..=1280 + 28).contains(&carried.received.bytes), "{carried:?}");
    Ok(())
}
