//! By which way the link goes, where the network or a proxy in front of the gateway leaves it few.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, PAGE, Poll, SOON, Site, report};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};

/// The first look for a better carrier comes after half a minute.
const FIRST_CLIMB: Duration = Duration::from_secs(40);

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

/// The gateway behind a web server that holds 80 and 443: plain HTTP on loopback, links as WebSockets on its URL.
const BEHIND_A_PROXY: &str = r#"
domain = "gateway.example"
addresses = ["wss://gateway.example"]
proxies = ["127.0.0.1"]
[listen]
http = ["127.0.0.1:8080"]
https = ["127.0.0.1:8443"]
quic = []
public-port = 443
"#;

#[test]
fn behind_nginx_the_link_is_a_websocket_and_visitors_are_served() -> Result<()> {
    let world = World::build(Shape::home())?;
    make_certificate(&world.gateway)?;
    let folder = world.gateway.folder();
    let folder = folder.display();
    let settings = format!(
        r#"
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 443 ssl;
        server_name gateway.example *.gateway.example;
        ssl_certificate {folder}/front.crt;
        ssl_certificate_key {folder}/front.key;
        location / {{
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 1h;
        }}
    }}
}}
"#
    );
    let file = world.gateway.folder().join("nginx.conf");
    fs::write(&file, settings)?;
    let nginx =
        Program::new("nginx").args(["-g".as_ref(), "daemon off; user root;".as_ref(), "-c".as_ref(), file.as_os_str()]);
    served_through(&world, &nginx)
}

#[test]
fn behind_caddy_the_link_is_a_websocket_and_visitors_are_served() -> Result<()> {
    let world = World::build(Shape::home())?;
    make_certificate(&world.gateway)?;
    let folder = world.gateway.folder();
    let settings = format!(
        "{{\n admin off\n auto_https off\n storage file_system {folder}\n}}\n\
         https://gateway.example:443, https://*.gateway.example:443 {{\n tls {folder}/front.crt {folder}/front.key\n \
         reverse_proxy 127.0.0.1:8080\n}}\n",
        folder = folder.display()
    );
    let file = folder.join("Caddyfile");
    fs::write(&file, settings)?;
    let caddy = Program::new("caddy").args([
        "run".as_ref(),
        "--adapter".as_ref(),
        "caddyfile".as_ref(),
        "--config".as_ref(),
        file.as_os_str(),
    ]);
    served_through(&world, &caddy.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder))
}

fn served_through(world: &World, front: &Program) -> Result<()> {
    let _front = world.gateway.spawn(front)?;
    wait_for_port(&world.gateway, 443)?;
    let site = Site::start_with(world, BEHIND_A_PROXY, AGENT_FILE)?;
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
    wait_for_port(node, 3128)?;
    Ok(process)
}

fn wait_for_port(node: &Node, port: u16) -> Result<()> {
    until(SOON, "the port is open", || Ok(!node.run(&format!("ss -Hltn sport = :{port}"))?.ok()?.is_empty())).map(drop)
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

/// A certificate nobody vouches for, as front.crt and front.key; agents must not care.
fn make_certificate(node: &Node) -> Result<()> {
    let folder = node.folder();
    let at = |name: &str| Path::new(&folder).join(name).display().to_string();
    node.run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway.example \
         -addext 'subjectAltName=DNS:gateway.example,DNS:*.gateway.example' -keyout {} -out {}",
        at("front.key"),
        at("front.crt")
    ))?
    .ok()
    .map(drop)
}
