//! A device that is added by pasting the portal's line, a service that is found and offered there, and its requests looked
//! at: in a real browser, with a real Jupyter, by a user that the machine has never seen.

use anyhow::{Context, Result, ensure};
use doorward_peers::browser::{Browser, Trust};
use doorward_peers::{SOON, until_served};
use doorward_world::site::{self, GATEWAY_FILE};
use doorward_world::{Node, Output, Process, Program, Shape, World, addresses, built, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PORTAL: &str = "portal.gateway.example";
const PASSWORD: &str = "drei müde Ziegen";
/// The program may be large, and the line to the device is not.
const TO_FETCH: Duration = Duration::from_secs(180);
const TO_SCAN: Duration = Duration::from_secs(160);
const AGENT_FILE: &str = "[portal]\nmay-offer = [\"127.0.0.1:8888\"]\nmay-scan = true\n";

fn said(node: &Node, words: &[&str]) -> Result<String> {
    let program = Program::new(built("doorward")?).args(words).args(["--data"]).args([site::data(node)]);
    node.run_program(&program, SOON)?.ok()
}

fn text_of(browser: &mut Browser, script: &str) -> Result<String> {
    browser.evaluate(script)?.as_str().map(str::to_owned).with_context(|| format!("no text: {script}"))
}

/// Somebody new on a device: nothing in their home, and no rights.
struct Newcomer {
    home: PathBuf,
    /// How to become them.
    became: String,
}

impl Newcomer {
    fn on(device: &Node) -> Result<Self> {
        let home = PathBuf::from(device.run("mktemp -d /tmp/newcomer.XXXXXX")?.ok()?.trim());
        let switch = "setpriv --reuid 54321 --regid 54321 --clear-groups";
        // In a user's own namespace there is nobody else to become.
        let is_root = device.run(&format!("{switch} true"))?.succeeded();
        if is_root {
            device.run(&format!("chown 54321:54321 {}", home.display()))?.ok()?;
        }
        let become_them = if is_root { switch } else { "" };
        println!("peers: the newcomer is {}", if is_root { "a user of their own" } else { "whoever runs the test" });
        let became = format!("{become_them} env -i HOME={} PATH=/usr/local/bin:/usr/bin:/bin", home.display());
        Ok(Self { home, became })
    }

    /// Into a terminal, with the invite typed when it is asked for.
    fn paste(&self, device: &Node, line: &str, invite: &str) -> Result<Output> {
        let (line_file, typed) = (self.home.join("line"), self.home.join("typed"));
        fs::write(&line_file, line)?;
        fs::write(&typed, format!("{invite}\n"))?;
        let inside = format!("{} sh {}", self.became, line_file.display());
        let pasted = format!("script -qefc '{inside}' /dev/null < {}", typed.display());
        device.run_program(&Program::shell(&pasted), TO_FETCH)
    }

    fn run_agent(&self, device: &Node) -> Result<Process> {
        let program = self.home.join(".local/bin/doorward");
        device.spawn(&Program::shell(&format!("exec {} {} agent", self.became, program.display())))
    }

    fn write(&self, device: &Node, name: &str, text: &str) -> Result<()> {
        let file = self.home.join(name);
        let folder = file.parent().context("a folder")?;
        device.run(&format!("{} mkdir -p {}", self.became, folder.display()))?.ok()?;
        Ok(fs::write(file, text)?)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn start_jupyter(node: &Node, folder: &Path) -> Result<Process> {
    let home = folder.join("jupyter");
    fs::create_dir_all(&home)?;
    let words = ["--allow-root", "--no-browser", "--port=8888", "--NotebookApp.token="];
    let program = Program::new("jupyter-notebook").args(words).in_folder(&home).env("HOME", &home);
    let mut jupyter = node.spawn(&program.env("JUPYTER_RUNTIME_DIR", home.join("runtime")))?;
    jupyter.wait_for_line("is running at", SOON)?;
    Ok(jupyter)
}

/// The first owner, signed in.
fn signed_in(world: &World) -> Result<Browser> {
    let root = world.gateway.folder().join("root.pem");
    fs::write(&root, said(&world.gateway, &["ca", "--pem"])?)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    until(SOON, "the portal is served", || {
        browser.open(&format!("https://{PORTAL}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    let link = said(&world.gateway, &["people", "owner-link", "--no-qr"])?;
    browser.open(link.trim())?;
    browser.until_shown("document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.send_form("/welcome/accept", &answer)?;
    browser.until_shown("location.pathname === '/'")?;
    Ok(browser)
}

/// The line for this way, by its place on the page, and the invite.
fn line_and_invite(browser: &mut Browser, way: usize) -> Result<(String, String)> {
    browser.open(&format!("https://{PORTAL}/add-device"))?;
    browser.send_form("/add-device", &[])?;
    browser.until_shown("document.getElementById('arrival') !== null")?;
    let line = text_of(browser, &format!("document.querySelectorAll('details pre')[{way}].textContent"))?;
    let invite = text_of(browser, "document.querySelectorAll('.steps > li')[1].querySelector('pre').textContent")?;
    ensure!(invite.starts_with("DW1") && !line.contains("DW1"), "{line}");
    Ok((line, invite))
}

#[test]
fn a_newcomer_pastes_the_line_and_offers_what_the_device_found() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point(PORTAL, &addresses::GATEWAY)?;
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let _gateway = site::serve(&world.gateway)?;
    let mut browser = signed_in(&world)?;
    browser.open(&format!("https://{PORTAL}/add-device"))?;
    browser.review("add-device")?;

    let (line, invite) = line_and_invite(&mut browser, 1)?;
    browser.review("add-device-line")?;
    let newcomer = Newcomer::on(&world.device)?;
    let pasted = newcomer.paste(&world.device, &line, &invite)?;
    let told = format!("{}{}", pasted.stdout, pasted.stderr);
    ensure!(pasted.succeeded() && told.contains("The program is"), "{told}");
    browser.until_shown("document.querySelector('#arrival a') !== null")?;
    newcomer.write(&world.device, ".config/doorward/agent.toml", AGENT_FILE)?;
    let _agent = newcomer.run_agent(&world.device)?;
    browser.until_shown("document.querySelector('#arrival').innerText.includes('It is online')")?;
    browser.review("add-device-arrived")?;

    let folder = tempfile::tempdir()?;
    let _jupyter = start_jupyter(&world.device, folder.path())?;
    let device = text_of(&mut browser, "document.querySelector('#arrival a').textContent")?;
    let services = format!("/devices/{device}/services");
    browser.open(&format!("https://{PORTAL}{services}"))?;
    browser.until_shown("document.querySelector('form[action$=\"/scan\"]') !== null")?;
    browser.review("device-services")?;
    let outside = [("name", "far"), ("target", "http://192.168.1.250:80")];
    browser.send_form(&services, &outside)?;
    browser
        .until_shown("document.body.innerText.includes('may-offer = [\"127.0.0.1:8888\", \"192.168.1.250:80\"]')")?;
    browser.review("device-services-refused")?;
    browser.send_form(&format!("/devices/{device}/scan"), &[])?;
    browser.until_shown_within(TO_SCAN, "document.body.innerText.includes('http://127.0.0.1:8888')")?;
    browser.review("device-services-found")?;
    browser.evaluate(
        "setTimeout(() => document.querySelector('form input[name=target][value=\"http://127.0.0.1:8888\"]').form.querySelector('button').click()); true",
    )?;
    browser.until_shown("document.querySelector('.tag:not(.bad):not(.wait)') !== null")?;

    said(&world.gateway, &["access", &format!("{device}/jupyter"), "set", "--public"])?;
    let page = format!("https://jupyter-{device}.gateway.example/tree");
    world.point(&format!("jupyter-{device}.gateway.example"), &addresses::GATEWAY)?;
    let requests = format!("/services/{device}/jupyter/requests");
    browser.open(&format!("https://{PORTAL}{requests}"))?;
    browser.review("requests-off")?;
    browser.send_form(&requests, &[])?;
    browser.until_shown("document.querySelector('[data-left]') !== null")?;
    until_served(&world.visitor, &page, 200)?;
    browser.open(&format!("https://{PORTAL}{requests}"))?;
    browser.until_shown("document.querySelector('details.request') !== null")?;
    browser.evaluate("document.querySelectorAll('details.request').forEach(one => { one.open = true; }); true")?;
    browser.review("requests")?;
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()
}

#[test]
fn the_line_for_root_installs_for_the_machine() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point(PORTAL, &addresses::GATEWAY)?;
    fs::write(site::gateway_settings(&world.gateway), GATEWAY_FILE)?;
    let _gateway = site::serve(&world.gateway)?;
    let mut browser = signed_in(&world)?;
    let (line, invite) = line_and_invite(&mut browser, 0)?;
    browser.close()?;
    let folder = tempfile::tempdir()?;
    let (script, typed) = (folder.path().join("line"), folder.path().join("typed"));
    // Where one is root already, sudo is left out, as the page says. The machine's own folders are covered: nothing of
    // this machine is touched.
    let covered = ["/usr/local/bin", "/var/lib", "/var/spool", "/etc/systemd", "/run"];
    let mounts: Vec<_> = covered.iter().map(|path| format!("mount -t tmpfs none {path}")).collect();
    let look = "test -x /usr/local/bin/doorward && ls /var/lib/doorward/agent/main/site.json";
    let text = format!("set -e\n{}\n{}\n{look}\n", mounts.join("\n"), line.replace("sudo sh", "sh"));
    fs::write(&script, text)?;
    fs::write(&typed, &invite)?;
    let pasted = format!("unshare -m sh {} < {}", script.display(), typed.display());
    let output = world.device.run_program(&Program::shell(&pasted), TO_FETCH)?;
    ensure!(output.succeeded() && output.stdout.contains("site.json"), "{output:?}");
    Ok(())
}
