//! A real Moonraker behind nginx, as MainsailOS has it, and a webcam that takes one client only: `doorward scan` finds the
//! camera in its settings and says the one to change, and then a browser elsewhere sees it. Mainsail's own pages are played by
//! one that does with the list of cameras what Mainsail does.

use anyhow::{Context, Result, ensure};
use doorward_peers::browser::Browser;
use doorward_peers::film::{WIDTH, film, number};
use doorward_peers::{SOON, until_served};
use doorward_world::front::wait_for_port;
use doorward_world::site::{GATEWAY_FILE, Site, doorward};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION: &str = "0.11.0";
/// Fetching and building it, where no earlier run did.
const INSTALL: Duration = Duration::from_secs(900);
const START: Duration = Duration::from_secs(60);
/// It looks at each address of the home.
const SCAN: Duration = Duration::from_secs(180);
const URL: &str = "https://printer-zumi.gateway.example";

const MOONRAKER: &str =
    "[server]\nhost: 127.0.0.1\nport: 7125\n\n[authorization]\ntrusted_clients:\n  127.0.0.0/8\n  192.168.0.0/16\n";
const PAGE: &str = r#"<!doctype html><title>Mainsail</title><img id="webcam"><script>
    fetch("/server/webcams/list").then((answer) => answer.json())
        .then(({ result }) => { webcam.src = result.webcams[0].stream_url; });
</script>"#;

/// As MainsailOS has it.
fn nginx_settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    types {{ text/html html; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 80;
        root {folder}/mainsail;
        location / {{ try_files $uri $uri/ /index.html; }}
        location ~ ^/(websocket|printer|api|access|machine|server)(/|$) {{
            proxy_pass http://127.0.0.1:7125;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Scheme $scheme;
            proxy_read_timeout 86400;
        }}
    }}
}}
"#
    )
}

/// The program, in an environment beside the built tests.
fn installed() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("moonraker-{VERSION}"));
    let ready = place.join("ready");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| -> Result<()> {
            let status = std::process::Command::new(program).args(arguments).status()?;
            ensure!(status.success(), "{} {arguments:?}: {status}", program.display());
            Ok(())
        };
        println!("peers: fetching Moonraker {VERSION}, for at most {} s", INSTALL.as_secs());
        run(Path::new("/usr/bin/python3"), &["-m", "venv", &place.display().to_string()])?;
        let (limit, pip) = (INSTALL.as_secs().to_string(), place.join("bin/pip").display().to_string());
        let wanted = format!("moonraker=={VERSION}");
        let install = [limit.as_str(), &pip, "install", "--quiet", "--disable-pip-version-check", &wanted];
        run(Path::new("/usr/bin/timeout"), &install).context("Moonraker cannot be had from PyPI")?;
        fs::write(ready, "")?;
    }
    Ok(place.join("bin/moonraker"))
}

/// Moonraker, the web server before it, and the camera.
fn start(device: &Node) -> Result<[Process; 3]> {
    let folder = device.folder();
    fs::create_dir_all(folder.join("printer/config"))?;
    fs::create_dir_all(folder.join("mainsail"))?;
    fs::write(folder.join("printer/config/moonraker.conf"), MOONRAKER)?;
    fs::write(folder.join("mainsail/index.html"), PAGE)?;
    fs::write(folder.join("nginx.conf"), nginx_settings(&folder))?;
    let moonraker = Program::new(installed()?).args(["-n".into(), "-d".into(), folder.join("printer")]);
    let moonraker = device.spawn(&moonraker.env("HOME", &folder))?;
    wait_for_port(device, 7125).with_context(|| moonraker.log())?;
    let nginx = Program::new("nginx").args(["-g", "daemon off; user root;", "-c"]).args([folder.join("nginx.conf")]);
    let nginx = device.spawn(&nginx)?;
    wait_for_port(device, 80)?;
    Ok([moonraker, nginx, film(device, 8080)?])
}

/// As Mainsail's settings do.
fn set_webcam(device: &Node, stream: &str) -> Result<()> {
    let webcam = json!({ "name": "front", "service": "mjpegstreamer", "stream_url": stream,
        "snapshot_url": "http://127.0.0.1:8080/?action=snapshot" });
    let ask = format!(
        "curl -sS --fail-with-body --max-time 10 -H 'content-type: application/json' -d '{webcam}' http://127.0.0.1/server/webcams/item"
    );
    device.run(&ask)?.ok().map(drop)
}

/// What `doorward scan` finds of it, for `agent.toml`; and what it says has to be changed.
fn scanned(device: &Node) -> Result<(String, String)> {
    let found: Value = serde_json::from_str(&device.run_program(&doorward(["scan", "--json"])?, SCAN)?.ok()?)?;
    let mainsail = found.as_array().into_iter().flatten().find(|one| one["preset"] == "mainsail");
    let mainsail = mainsail.with_context(|| format!("no Mainsail in {found}"))?;
    let [camera] = mainsail["cameras"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("not one camera in {mainsail}")
    };
    println!("peers: found {mainsail}");
    let agent_file = format!(
        "[[service]]\nname = \"printer\"\ntarget = {}\npreset = {}\nmounts = {{ {} = {} }}\naccess = {{ who = \"public\" }}\n",
        mainsail["target"], mainsail["preset"], camera["path"], camera["target"]
    );
    Ok((agent_file, camera["remedy"].as_str().context("a remedy")?.to_owned()))
}

#[test]
fn scan_finds_klippers_camera_and_a_browser_elsewhere_sees_it() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    let _running = start(&world.device)?;
    set_webcam(&world.device, &format!("http://{}:8080/?action=stream", addresses::DEVICE[0]))?;
    let (agent_file, remedy) = scanned(&world.device)?;
    ensure!(remedy.contains("URL Stream") && remedy.contains("/webcam/?action=stream"), "{remedy}");
    let _site = Site::start_with(&world, GATEWAY_FILE, &agent_file)?;
    world.point("printer-zumi.gateway.example", &addresses::GATEWAY)?;
    until_served(&world.visitor, URL, 200)?;

    let mut browser = Browser::start(&world.visitor)?;
    browser.open(URL)?;
    browser
        .until(SOON, "webcam.src.includes('192.168.')")
        .context("before the change it looks into the home's network")?;
    ensure!(browser.evaluate("webcam.naturalWidth")? == 0, "how did it come there?");
    set_webcam(&world.device, "/webcam/?action=stream")?;
    browser.open(URL)?;
    browser.until(START, &format!("webcam.naturalWidth === {WIDTH}"))?;
    let first = number(&mut browser, "webcam")?;
    until(SOON, "the webcam's picture moves on", || Ok(number(&mut browser, "webcam")? > first + 20))?;
    let info = browser.evaluate(
        "new Promise((done, failed) => { const socket = new WebSocket(location.origin.replace('http', 'ws') + '/websocket');
           socket.onopen = () => socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'server.info', id: 1 }));
           socket.onmessage = ({ data }) => { const said = JSON.parse(data); if (said.id === 1) done(said.result); };
           socket.onerror = () => failed(new Error('no socket')); })",
    )?;
    ensure!(info["klippy_connected"] == false && info["moonraker_version"].is_string(), "{info}");
    browser.close()
}
