//! What a browser makes of the doors: passwords, the start page, and pages that say why nothing is there.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::Browser;
use doorward_world::site::{self, GATEWAY_FILE, Site};
use doorward_world::{Node, Shape, World, addresses, until};

const SECRET: &str = "https://secret-zumi.gateway.example/";
const CAMERA: &str = "https://cam-zumi.gateway.example/";
const UNKNOWN: &str = "https://unknown.gateway.example/";
const USER: &str = "jürgen";
const PASSWORD: &str = "Größe ✓";

/// A world in which visitors know the names of a device's services.
fn world() -> Result<World> {
    let world = World::build(Shape::home())?;
    for host in ["secret-zumi", "cam-zumi", "unknown"] {
        world.point(&format!("{host}.gateway.example"), &addresses::GATEWAY)?;
    }
    Ok(world)
}

/// The owner's line for agent.toml.
fn hashed(node: &Node, password: &str) -> Result<String> {
    let program = doorward_world::built("doorward")?;
    let hash = node.run(&format!("printf '%s\\n' '{password}' | '{}' password", program.display()))?.ok()?;
    let hash = hash.split_whitespace().find(|word| word.starts_with("$argon2")).context("no hash")?;
    Ok(hash.trim_matches('"').to_owned())
}

/// Opens a page again until it is answered with this status: services are registered a moment after the link is up.
fn open_until(browser: &mut Browser, url: &str, status: u64) -> Result<()> {
    until(SOON, &format!("{url} answers {status}"), || {
        browser.open(url)?;
        Ok(browser.status()? == status)
    })
    .map(drop)
}

#[test]
fn a_browser_asks_for_the_password_and_brings_its_umlauts_and_its_websockets_in() -> Result<()> {
    let world = world()?;
    let hash = hashed(&world.device, PASSWORD)?;
    let agent_file = format!(
        "[[service]]\nname = \"secret\"\ntarget = \"http://127.0.0.1:8000\"\n\
         [service.access]\nwho = \"password\"\npasswords = {{ \"{USER}\" = \"{hash}\" }}\n"
    );
    let _site = Site::start_with(&world, GATEWAY_FILE, &agent_file)?;
    let mut browser = Browser::start(&world.visitor)?;
    // Escape pressed, and the page behind the dialog read.
    open_until(&mut browser, SECRET, 401)?;
    ensure!(browser.text()?.contains("Password needed"), "{}", browser.text()?);
    browser.review("password")?;

    let dialogs = browser.dialogs();
    browser.will_log_in(USER, "Groesse");
    browser.open(SECRET)?;
    ensure!(browser.status()? == 401 && browser.dialogs() == dialogs + 2, "a wrong password is asked for again");
    browser.will_log_in(USER, PASSWORD);
    browser.open(SECRET)?;
    ensure!(browser.text()?.trim() == "the page of the device", "{}", browser.text()?);

    // The browser says it again by itself, also for what its pages open.
    let dialogs = browser.dialogs();
    let echo = "new Promise((done, fail) => {
        const socket = new WebSocket(location.href.replace('https', 'wss'));
        socket.onopen = () => socket.send('through the door');
        socket.onmessage = ({ data }) => done(data);
        socket.onerror = () => fail('no WebSocket');
    })";
    ensure!(browser.evaluate(echo)? == "through the door");
    browser.open(SECRET)?;
    ensure!(browser.status()? == 200 && browser.dialogs() == dialogs, "nobody is asked twice");
    browser.close()?;

    let mut another = Browser::start(&world.visitor)?;
    another.open(SECRET)?;
    ensure!(another.status()? == 401, "another browser has to say it itself");
    another.close()
}

#[test]
fn an_admitted_visitor_learns_that_the_device_is_offline_and_a_stranger_learns_nothing() -> Result<()> {
    let admitted = addresses::VISITOR.map(|address| format!("\"{address}\"")).join(", ");
    let world = world()?;
    let agent_file = format!(
        "[[service]]\nname = \"cam\"\ntitle = \"Camera\"\ntarget = \"http://127.0.0.1:8000\"\n\
         [service.access]\nwho = \"public\"\nfrom = [{admitted}]\n"
    );
    // Where people sign in, strangers are sent there instead.
    let gateway_file = format!("{GATEWAY_FILE}\n[portal]\npublic = false\n");
    let mut site = Site::start_with(&world, &gateway_file, &agent_file)?;
    let mut visitor = Browser::start(&world.visitor)?;
    let mut stranger = Browser::start(&world.other_visitor)?;
    open_until(&mut visitor, CAMERA, 200)?;

    stranger.open(UNKNOWN)?;
    let nothing = (stranger.status()?, stranger.evaluate("document.documentElement.outerHTML")?);
    ensure!(nothing.0 == 404 && stranger.text()?.contains("Nothing here"), "{nothing:?}");
    stranger.review("nothing")?;
    for is_online in [true, false] {
        if !is_online {
            site.services.kill()?;
            open_until(&mut visitor, CAMERA, 502)?;
            ensure!(visitor.text()?.contains("Camera: the device is online, but"), "{}", visitor.text()?);
            visitor.review("refused")?;
            site.agent.stop(SOON)?;
            open_until(&mut visitor, CAMERA, 503)?;
            ensure!(visitor.text()?.contains("Camera: the device is offline."), "{}", visitor.text()?);
            visitor.review("offline")?;
        }
        stranger.open(CAMERA)?;
        let seen = (stranger.status()?, stranger.evaluate("document.documentElement.outerHTML")?);
        ensure!(seen == nothing, "online: {is_online}: {seen:?}");
    }
    visitor.close()?;
    stranger.close()
}

#[test]
fn the_start_page_on_loopback_lists_devices_and_closed_ports() -> Result<()> {
    let world = World::build(Shape::home())?;
    let closed = "add table inet closed
        add chain inet closed in { type filter hook input priority 0; }
        add rule inet closed in tcp dport 20000-20999 drop";
    world.gateway.run(&format!("echo '{closed}' | nft -f -"))?.ok()?;
    let agent_file = format!(
        "{}\n[[service]]\nname = \"ssh\"\ntarget = \"tcp://127.0.0.1:22\"\nentrances = [{{ tcp-port = 20003 }}]\n",
        site::AGENT_FILE
    );
    let mut site = Site::start_with(&world, GATEWAY_FILE, &agent_file)?;
    let greeting = site.gateway.wait_for_line("start page", SOON)?;
    let url = greeting.split_whitespace().find(|word| word.starts_with("http://")).context("no URL")?;
    let mut browser = Browser::start(&world.gateway)?;
    browser.open(url)?;
    let parts = [
        "zumi",
        "online for",
        "https://page-zumi.gateway.example/",
        "gateway.example:20001",
        "nobody may use it yet",
        "doorward access zumi/ssh set --public --from NETWORK",
    ];
    for part in parts {
        let listed = format!("document.querySelector('article').innerText.includes('{part}')");
        until(SOON, part, || {
            browser.open(url)?;
            Ok(browser.evaluate(&listed)? == true)
        })?;
    }
    until(SOON, "the closed ports are named", || {
        browser.open(url)?;
        let text = browser.text()?;
        Ok(text.contains("Closed ports") && text.contains("sudo ufw allow 20001/tcp") && !text.contains("port 443"))
    })?;
    browser.review("start")?;
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());

    site.agent.stop(SOON)?;
    until(SOON, "the device is said to be offline", || {
        browser.open(url)?;
        Ok(browser.text()?.contains("offline, last seen"))
    })?;
    browser.review("start-offline")?;
    browser.close()
}
