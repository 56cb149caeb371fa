//! A day at the portal, in a real browser: devices that come and go, a session that is opened, made longer and cut while
//! streams are open, and a device that is looked after.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_world::site::{self, GATEWAY_FILE, Site};
use doorward_world::{Node, Process, Program, Shape, World, addresses, built, until};
use std::fs;
use std::path::{Path, PathBuf};

const PORTAL: &str = "https://portal.gateway.example";
const ROOM: &str = "https://room-zumi.gateway.example/";
const PASSWORD: &str = "drei müde Ziegen";
const AGENT_FILE: &str = r#"
[[service]]
name = "room"
title = "Room"
target = "http://127.0.0.1:8100"
access = { who = "people", people = ["olga"], how = "on-request", max-duration = "4h" }

[[service]]
name = "shell"
title = "Shell"
target = "tcp://127.0.0.1:7001"
virtual-port = 22
entrances = [{ tcp-port = 20001 }]
access = { who = "people", people = ["olga"] }
"#;
/// Promised is a second at the visitor's socket. What comes on top is the browsers' own: one sends the form, the other tells its page.
const CUT: f64 = 5000.0;

/// Seconds of a session that comes to its end by itself.
const SHORT: u32 = 8;

struct School {
    world: World,
    site: Site,
    root: PathBuf,
    _room: Process,
}

impl School {
    fn open() -> Result<Self> {
        let world = World::build(Shape::home())?;
        for name in ["portal", "room-zumi"] {
            world.point(&format!("{name}.gateway.example"), &addresses::GATEWAY)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/room.py");
        let mut room =
            world.device.spawn(&Program::new("/usr/bin/python3").args([script.as_os_str(), "8100".as_ref()]))?;
        room.wait_for_line("ready", SOON)?;
        let site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
        let root = world.gateway.folder().join("root.pem");
        fs::write(&root, said(&world.gateway, &["ca", "--pem"])?)?;
        Ok(Self { world, site, root, _room: room })
    }

    fn browser(&self) -> Result<Browser> {
        Browser::trusting(&self.world.visitor, Trust::Roots(&[&self.root]))
    }

    /// For so many seconds, as programs do: the portal's own presses are for minutes.
    fn open_room(&self, seconds: u32) -> Result<()> {
        let wish = format!(r#"{{"service": "zumi/room", "person": "olga", "for": "{seconds}s"}}"#);
        let answer = site::ask_owner(&self.world.gateway, "POST", "sessions", &wish)?;
        ensure!(answer.contains("opened-at"), "{answer}");
        Ok(())
    }
}

fn said(node: &Node, words: &[&str]) -> Result<String> {
    let program = Program::new(built("doorward")?).args(words).args(["--data"]).args([site::data(node)]);
    node.run_program(&program, SOON)?.ok()
}

/// While it goes from page to page, questions to the one before fail.
fn is_at(path: &str) -> String {
    format!("location.pathname === {path:?}")
}

/// Presses what `selector` finds now: a part that is renewed a moment later takes what was found before with it.
fn press(browser: &mut Browser, selector: &str) -> Result<()> {
    let script =
        format!("(() => {{ const found = document.querySelector({selector:?}); found?.click(); return !!found; }})()");
    ensure!(browser.evaluate(&script)? == true, "no {selector} in {}", browser.text()?);
    Ok(())
}

fn fill(browser: &mut Browser, form: &str, fields: &[(&str, &str)]) -> Result<()> {
    for (name, value) in fields {
        browser.evaluate(&format!(
            "document.querySelector('form[action={form:?}]').elements[{name:?}].value = {value:?}"
        ))?;
    }
    press(browser, &format!("form[action={form:?}] button"))
}

fn become_owner(school: &School, browser: &mut Browser) -> Result<()> {
    until(SOON, "the portal is served", || {
        browser.open(&format!("{PORTAL}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    let link = said(&school.world.gateway, &["people", "owner-link", "--no-qr"])?;
    browser.open(link.trim())?;
    browser.until_shown("document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    fill(browser, "/welcome/accept", &answer)?;
    browser.until_shown(&is_at("/"))
}

fn sign_in(browser: &mut Browser) -> Result<()> {
    browser.open(&format!("{PORTAL}/sign-in"))?;
    fill(browser, "/sign-in", &[("name", "olga"), ("password", PASSWORD)])?;
    browser.until_shown(&is_at("/"))
}

/// What a tile says of itself.
fn tile(name: &str, says: &str) -> String {
    format!(
        "[...document.querySelectorAll('[data-said]')].some((part) => part.dataset.said.startsWith({name:?}) && part.dataset.said.includes({says:?}))"
    )
}

/// All three streams of the room are running.
fn until_alive(browser: &mut Browser) -> Result<()> {
    browser.until_shown("window.alive && Object.values(window.alive).every((count) => count > 2)")
}

/// `pressed`: when somebody ended it, by the browser's clock. Afterwards whoever comes anew is asked how long, and told why.
fn until_cut(browser: &mut Browser, pressed: f64, why: &str) -> Result<()> {
    let waited = browser.until(SOON, "Object.keys(window.ended).length === 3");
    waited.with_context(|| format!("{:?}", browser.evaluate("JSON.stringify([window.ended, window.alive])")))?;
    let last = browser.evaluate("Math.max(...Object.values(window.ended))")?.as_f64().context("a time")?;
    println!("{why} The page saw the last of its three streams end after {} ms", last - pressed);
    ensure!((0.0..CUT).contains(&(last - pressed)), "{why}: {} ms", last - pressed);
    browser.open(ROOM)?;
    browser.until_shown(&format!("document.body.innerText.includes({why:?})"))
}

fn clock(browser: &mut Browser) -> Result<f64> {
    browser.evaluate("Date.now()")?.as_f64().context("a time")
}

/// The dashboard, while the device goes and comes back: nobody reloads.
fn watch_it_go_and_come(school: &mut School, browser: &mut Browser) -> Result<()> {
    browser.until_shown(&tile("Room: online", "not open"))?;
    browser.review("portal-home")?;
    browser.evaluate("window.isTheSamePage = true")?;
    school.site.agent.stop(SOON)?;
    browser.until_shown(&tile("Room: offline", ""))?;
    browser.until_shown("document.getElementById('news').textContent.includes('offline')")?;
    browser.review("portal-home-offline")?;
    school.site.agent = site::run_agent(&school.world.device)?;
    browser.until_shown(&tile("Room: online", ""))?;
    browser.until_shown(&tile("zumi: online", ""))?;
    ensure!(browser.evaluate("window.isTheSamePage")? == true, "the page was loaded anew");
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    Ok(())
}

/// One press opens the room; somebody signed in elsewhere makes the session longer, and ends it.
fn watch_it_cut(visitor: &mut Browser, other: &mut Browser) -> Result<()> {
    // In this tab, which the test holds.
    visitor.evaluate("document.querySelector('#services form[target=_blank]').target = '_self'")?;
    press(visitor, "#services form[target=_self] button[value='5']")?;
    visitor.until_shown("location.hostname.startsWith('room-')")?;
    until_alive(visitor)?;

    other.until_shown(&tile("Room: online", "open for you"))?;
    other.review("portal-home-open")?;
    other.open(&format!("{PORTAL}/sessions"))?;
    let left = "document.querySelector('.left').textContent";
    other.until_shown(&format!("/^0[45]:/.test({left})"))?;
    press(other, "form[action$='/extend'] button[value='30']")?;
    other.until_shown(&format!("/^(30|29):/.test({left})"))?;
    other.review("portal-sessions")?;
    ensure!(visitor.evaluate("Object.keys(window.ended).length")? == 0, "a longer session cuts nothing");
    let pressed = clock(other)?;
    press(other, "form[action$='/end'] button")?;
    // What a browser asks for goes on while it is listened to.
    other.until_shown("document.querySelector('#over') !== null")?;
    until_cut(visitor, pressed, "You ended your session.")?;
    visitor.review("portal-opening-after-the-end")?;
    other.review("portal-sessions-over")
}

fn look_after_the_device(school: &mut School, browser: &mut Browser) -> Result<()> {
    browser.open(&format!("{PORTAL}/devices/zumi"))?;
    browser.review("portal-device")?;
    browser.open(&format!("{PORTAL}/devices/zumi/log"))?;
    browser.until_shown("document.querySelector('.log').innerText.includes('connected')")?;
    browser.review("portal-device-log")?;
    let (pid, mark) = (school.site.agent.pid()?, school.site.agent.log().len());
    browser.open(&format!("{PORTAL}/devices/zumi"))?;
    browser.evaluate("document.querySelector('details').open = true")?;
    browser.review("portal-device-restart")?;
    press(browser, "form[action$='/restart'] button")?;
    until(SOON, "the agent starts anew", || {
        let _is_going_on = browser.evaluate("true");
        let said = school.site.agent.log().split_off(mark);
        Ok(said.split_once("starting anew").is_some_and(|(_, after)| after.contains("connected")))
    })?;
    ensure!(school.site.agent.pid()? == pid && school.site.agent.exited()?.is_none(), "it is another process");
    browser.until_shown(&tile("zumi: online", ""))
}

#[test]
fn a_day_at_the_portal_with_devices_that_come_and_go_and_sessions_that_are_cut() -> Result<()> {
    let mut school = School::open()?;
    let mut visitor = school.browser()?;
    become_owner(&school, &mut visitor)?;
    watch_it_go_and_come(&mut school, &mut visitor)?;
    let mut other = school.browser()?;
    sign_in(&mut other)?;
    watch_it_cut(&mut visitor, &mut other)?;

    let deadline = clock(&mut visitor)? + f64::from(SHORT) * 1000.0;
    school.open_room(SHORT)?;
    visitor.open(ROOM)?;
    until_alive(&mut visitor)?;
    until_cut(&mut visitor, deadline, "Your session is over: its time has run out.")?;

    other.open(&format!("{PORTAL}/"))?;
    press(&mut other, "#services a[href^='/services/']")?;
    other.until_shown("document.querySelector('figure svg') !== null")?;
    other.review("portal-service")?;
    look_after_the_device(&mut school, &mut other)?;
    visitor.close()?;
    other.close()
}
