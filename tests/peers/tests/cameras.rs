//! A camera that a real browser looks at: what it shows is read from its own pixels, in which the film counts its frames.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_peers::film::{READ, film, number};
use doorward_world::site::{GATEWAY_FILE, Site, ask_owner, data};
use doorward_world::{Program, Shape, World, addresses, built, until};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const PORTAL: &str = "https://portal.gateway.example";
const AGENT_FILE: &str = r#"
[[service]]
name = "yard"
title = "Yard"
target = "camera+http://127.0.0.1:8090/"
access = { who = "people", people = ["olga"] }

[[service]]
name = "printer"
title = "Printer"
target = "http://127.0.0.1:8100"
mounts = { "/webcam/" = "camera+http://127.0.0.1:8091/" }
access = { who = "people", people = ["olga"] }
"#;

const MANY: usize = 24;
/// The rate of the wall.
const RATE: f64 = 5.0;
/// Places of which a part can be seen now.
const IN_SIGHT: &str = "[...document.querySelectorAll('[data-camera]')].filter((place) => { \
    const { top, bottom } = place.getBoundingClientRect(); return bottom > 0 && top < innerHeight; })";
const IS_DRAWN: &str =
    "(place) => { const canvas = place.querySelector('canvas'); return !canvas.hidden && canvas.width > 0; }";

/// One film for all: what goes up goes for each of them.
fn many() -> String {
    let one = |number| {
        format!(
            "[[service]]\nname = \"cam{number:02}\"\ntitle = \"Camera {number}\"\ntarget = \"camera+http://127.0.0.1:8090/\"\n\
             access = {{ who = \"people\", people = [\"olga\"] }}\n\n"
        )
    };
    (1..=MANY).map(one).collect()
}

fn become_owner(world: &World, browser: &mut Browser) -> Result<()> {
    until(SOON, "the portal is served", || {
        browser.open(&format!("{PORTAL}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    let program = Program::new(built("doorward")?).args(["people", "owner-link", "--no-qr", "--data"]);
    let link = world.gateway.run_program(&program.args([data(&world.gateway)]), SOON)?.ok()?;
    browser.open(link.trim())?;
    for (name, value) in
        [("name", "olga"), ("title", "Olga"), ("password", "drei müde Ziegen"), ("again", "drei müde Ziegen")]
    {
        browser.evaluate(&format!("document.querySelector('form').elements[{name:?}].value = {value:?}"))?;
    }
    browser.evaluate("document.querySelector('form button:not([type=button])').click()")?;
    until(SOON, "she is at home", || Ok(browser.evaluate("location.pathname === '/'").is_ok_and(|is| is == true)))?;
    Ok(())
}

/// What is shown moves on with the film: so many frames in three seconds.
fn moves_on(browser: &mut Browser, of: &str) -> Result<u64> {
    let watched = browser.evaluate(&format!(
        "(async () => {{ {READ} const seen = []; const until = performance.now() + 3000;
           while (performance.now() < until) {{ const n = read({of}); if (n !== seen.at(-1)) seen.push(n); await new Promise((r) => setTimeout(r, 20)); }}
           return seen; }})()"
    ))?;
    let seen: Vec<u64> = watched.as_array().context("numbers")?.iter().filter_map(Value::as_u64).collect();
    println!("peers: {of}: {seen:?}");
    ensure!(seen.is_sorted(), "pictures came out of order: {seen:?}");
    Ok(seen.len() as u64)
}

#[test]
fn a_browser_shows_what_the_camera_films_now() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point("portal.gateway.example", &addresses::GATEWAY)?;
    let _films = [film(&world.device, 8090)?, film(&world.device, 8091)?];
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let root = world.gateway.folder().join("root.pem");
    let authority = Program::new(built("doorward")?).args(["ca", "--pem", "--data"]).args([data(&world.gateway)]);
    fs::write(&root, world.gateway.run_program(&authority, SOON)?.ok()?)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    become_owner(&world, &mut browser)?;

    let is_shown = "[...document.querySelectorAll('[data-camera] canvas')].length === 2 \
                    && [...document.querySelectorAll('[data-camera] canvas')].every((canvas) => !canvas.hidden)";
    browser.open(&format!("{PORTAL}/"))?;
    browser.until(SOON, is_shown).with_context(|| browser.text().unwrap_or_default())?;
    browser.review("cameras-home")?;
    browser.open(&format!("{PORTAL}/cameras"))?;
    browser.until(SOON, is_shown)?;
    let shown = moves_on(&mut browser, "document.querySelector('canvas')")?;
    ensure!((8..=20).contains(&shown), "the wall showed {shown} frames in three seconds instead of 15");
    browser.review("cameras-wall")?;

    browser
        .evaluate("[...document.querySelectorAll('.camera a')].find((a) => a.textContent.includes('Yard')).click()")?;
    browser.until(SOON, "location.pathname !== '/cameras' && document.querySelector('canvas')?.hidden === false")?;
    let shown = moves_on(&mut browser, "document.querySelector('canvas')")?;
    ensure!(shown >= 20, "its page showed {shown} frames in three seconds instead of 30");
    browser.until(SOON, "document.querySelector('[data-figure=viewers]').textContent === '1'")?;
    let figures = browser.evaluate("document.querySelector('.seen').innerText")?;
    println!("peers: {figures}");
    browser.review("camera")?;

    // As a page without scripts shows it, and whatever else embeds it.
    browser.evaluate("window.image = document.createElement('img'); image.src = document.querySelector('a[download]').href.replace(/snapshot$/, 'stream'); document.body.append(image); image.decode()")?;
    let first = number(&mut browser, "image")?;
    until(Duration::from_secs(10), "the image moves on", || Ok(number(&mut browser, "image")? > first + 5))?;
    let (here, there) = (number(&mut browser, "document.querySelector('canvas')")?, number(&mut browser, "image")?);
    ensure!(here.abs_diff(there) <= 5, "the two show {here} and {there}");
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()
}

/// Cameras that somebody looks at, as the API has them.
fn looked_at(world: &World) -> Result<usize> {
    let services: Value = serde_json::from_str(&ask_owner(&world.gateway, "GET", "services", "")?)?;
    let services = services.as_array().context("services")?;
    Ok(services.iter().filter(|service| service["cameras"][0]["viewers"] == 1).count())
}

#[test]
fn a_wall_of_many_cameras_takes_up_what_is_in_sight() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point("portal.gateway.example", &addresses::GATEWAY)?;
    let _film = film(&world.device, 8090)?;
    let _site = Site::start_with(&world, GATEWAY_FILE, &many())?;
    let mut browser = Browser::start(&world.visitor)?;
    become_owner(&world, &mut browser)?;
    browser.open(&format!("{PORTAL}/cameras"))?;
    ensure!(browser.evaluate("document.querySelectorAll('[data-camera]').length")? == MANY, "not all are there");
    browser.until(SOON, &format!("{IN_SIGHT}.every({IS_DRAWN})"))?;
    let in_sight = browser.evaluate(&format!("{IN_SIGHT}.length"))?.as_u64().context("a number")?;
    ensure!(in_sight > 0 && in_sight < MANY as u64, "{in_sight} are in sight");
    until(SOON, "those in sight are live, and no other", || Ok(looked_at(&world)? as u64 == in_sight))?;
    let fetched = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/frames/')).length";
    ensure!(browser.evaluate(fetched)? == 0, "pictures were fetched beside the one stream");

    let size = "fetch('/frames/zumi/cam01/snapshot').then((answer) => answer.blob()).then(({ size }) => size)";
    let size = browser.evaluate(size)?.as_f64().context("a size")?;
    let (before, since) = (world.device.traffic()?.sent.bytes, Instant::now());
    browser.evaluate("new Promise((done) => setTimeout(done, 6000))")?;
    let up = (world.device.traffic()?.sent.bytes - before) as f64 / since.elapsed().as_secs_f64();
    let needed = in_sight as f64 * RATE * size;
    println!(
        "peers: {in_sight} of {MANY} in sight: {:.0} kB/s go up, {:.0} are what they show",
        up / 1e3,
        needed / 1e3
    );
    ensure!(up < 1.3 * needed, "{up} bytes a second go up");
    ensure!(up > 0.3 * needed, "only {up} bytes a second go up");

    for place in 0..MANY {
        let at = format!("document.querySelectorAll('[data-camera]')[{place}]");
        browser.evaluate(&format!("{at}.scrollIntoView()"))?;
        browser.until(SOON, &format!("({IS_DRAWN})({at})")).with_context(|| format!("camera {place}"))?;
    }
    browser.evaluate("scrollTo(0, 0)")?;
    browser.review("cameras-many")?;
    browser.open(&format!("{PORTAL}/"))?;
    browser.until(SOON, &format!("{IN_SIGHT}.length > 0 && {IN_SIGHT}.every({IS_DRAWN})"))?;
    browser.review("cameras-many-home")?;
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()
}
