//! By which way the link goes, where the network or a proxy in front of the gateway leaves it few.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, PAGE, Poll, SOON, Site, report};
use doorward_world::{Node, Process, Program, Shape, World, addresses, front, until};

/// The first look for a better carrier comes after a dozen seconds.
const FIRST_CLIMB: Duration = Duration::from_secs(17);

#[test]
fn where_udp_is_blocked_the_link_is_on_tls_and_climbs_when_it_is_not_any_more() -> Result<()> {
    let world = World::build(Shape::home())?;
    let blocked = world.home_router.block_udp()?;
    let site = Site::start(&world)?;
    ensure!(site.carrier().as_deref() == Some("tls"), "{:?}", site.carrier());
    let mut poll = Poll::of(&world)?;
    blocked.mend()?;
    let event = SystemTime::now();
    until(FIRST_CLIMB * 2, "the link is on QUIC", || Ok(site.carrier().as_deref() == Some("quic")))?;
    report("back on QUIC after UDP was blocked", event.elapsed()?, FIRST_CLIMB)?;
    poll.served_since(SystemTime::now(), SOON).map(drop)
}

#[test]
fn where_only_tcp_443_passes_a_device_joins_and_is_reached() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let _strict = world.carrier()?.only_tcp_443()?;
    let site = Site::start(&world)?;
    ensure!(site.carrier().as_deref() == Some("tls"), "{:?}", site.carrier());
    Poll::of(&world).map(drop)
}

#[test]
fn behind_nginx_the_link_is_a_websocket_and_visitors_are_served() -> Result<()> {
    served_through(front::nginx)
}

#[test]
fn behind_caddy_the_link_is_a_websocket_and_visitors_are_served() -> Result<()> {
    served_through(front::caddy)
}

fn served_through(start: fn(&Node) -> Result<Process>) -> Result<()> {
    let world = World::build(Shape::home())?;
    let _front = start(&world.gateway)?;
    let site = Site::start_with(&world, front::GATEWAY_FILE, AGENT_FILE)?;
    ensure!(site.carrier().as_deref() == Some("websocket"), "{:?}", site.carrier());
    let page = until_page(&world.visitor, &format!("https://{PAGE}/"))?;
    ensure!(page == "the page of the device\n", "{page}");
    let said =
        world.visitor.run_program(&site::script("websocket.py", &[gateway_ip(), "443".into(), PAGE.into()]), SOON)?;
    ensure!(said.ok()? == "hello\n");
    let echo = world.visitor.run(&format!("echo hi | socat -T2 - TCP:{}:{}", gateway_ip(), site::TCP_PORT))?.ok()?;
    ensure!(echo == "hi\n", "{echo}");
    Ok(())
}

#[test]
fn an_http_proxy_that_is_the_only_way_out_is_used_as_told_by_the_file_or_the_environment() -> Result<()> {
    let world = World::build(Shape::home().with_second_device())?;
    let proxy = world.second_device()?;
    let _proxy = start_proxy(proxy)?;
    let only_proxy = format!("oifname \"wan\" ip saddr {} drop", addresses::DEVICE[0]);
    let _only = world.home_router.block_matching(&only_proxy)?;
    world.device.point("gateway.example", &[])?;
    let url = format!("http://{}:3128", addresses::SECOND_DEVICE[0]);

    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let _gateway = site::serve(&world.gateway)?;
    let _services = site::offer(&world.device)?;
    let joining = site::join_program(&world.device, &site::invite(&world.gateway, "{}")?, "zumi")?;
    world.device.run_program(&joining.env("HTTPS_PROXY", &url), Duration::from_secs(90))?.ok()?;

    fs::write(site::agent_settings(&world.device), AGENT_FILE)?;
    let mut agent = world.device.spawn(&site::agent_program(&world.device)?.env("HTTPS_PROXY", &url))?;
    agent.wait_for_line("connected", SOON)?;
    let mut poll = Poll::of(&world)?;
    agent.kill()?;

    fs::write(site::agent_settings(&world.device), format!("proxy = \"{url}\"\n{AGENT_FILE}"))?;
    let mut agent = site::run_agent(&world.device)?;
    agent.wait_for_line("connected", SOON)?;
    poll.served_since(SystemTime::now(), SOON)?;
    ensure!(site::carrier(&agent).as_deref() == Some("tls"), "{:?}", site::carrier(&agent));
    Ok(())
}

fn start_proxy(node: &Node) -> Result<Process> {
    let file = node.folder().join("tinyproxy.conf");
    fs::write(&file, "Port 3128\nTimeout 600\nMaxClients 200\nConnectPort 443\nLogLevel Info\n")?;
    let process = node.spawn(&Program::new("tinyproxy").args(["-d".as_ref(), "-c".as_ref(), file.as_os_str()]))?;
    front::wait_for_port(node, 3128)?;
    Ok(process)
}

/// The agent's services are registered a moment after it is connected.
fn until_page(visitor: &Node, url: &str) -> Result<String> {
    let ask = format!("curl -sSk --fail --max-time 5 --connect-to ::{}:443 {url}", gateway_ip());
    let mut page = String::new();
    until(SOON, "the page is there", || {
        page = visitor.run(&ask)?.ok()?;
        Ok(true)
    })?;
    Ok(page)
}

fn gateway_ip() -> String {
    addresses::GATEWAY[0].to_string()
}
