//! A share link from the page that makes it to the page that says it is over, in a real browser, which looks at every page on its way.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, Site};
use doorward_world::{Node, Program, Shape, World, addresses, built, until};
use std::fs;

const PORTAL: &str = "portal.gateway.example";
const PAGE: &str = "page-zumi.gateway.example";
const PASSWORD: &str = "drei müde Ziegen";

fn said(node: &Node, words: &[&str]) -> Result<String> {
    let program = Program::new(built("doorward")?).args(words).args(["--data"]).args([site::data(node)]);
    node.run_program(&program, SOON)?.ok()
}

/// While it goes from page to page, questions to the one before fail.
fn heading(words: &str) -> String {
    format!("document.querySelector('h1')?.innerText === {words:?}")
}

fn sign_in(browser: &mut Browser, gateway: &Node) -> Result<()> {
    let link = said(gateway, &["people", "owner-link", "--no-qr"])?;
    browser.open(link.trim())?;
    browser.until_shown("document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.submit("form[action=\"/welcome/accept\"]", &answer)?;
    browser.until_shown("location.pathname === '/'")
}

#[test]
fn a_link_is_made_sent_opened_watched_and_taken_back() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point(PORTAL, &addresses::GATEWAY)?;
    world.point(PAGE, &addresses::GATEWAY)?;
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let root = world.gateway.folder().join("root.pem");
    fs::write(&root, said(&world.gateway, &["ca", "--pem"])?)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    let portal = format!("https://{PORTAL}");
    until(SOON, "the portal is served", || {
        browser.open(&format!("{portal}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    sign_in(&mut browser, &world.gateway)?;
    browser.open(&format!("{portal}/shares"))?;
    ensure!(browser.text()?.contains("may be shared"), "{}", browser.text()?);
    browser.review("shares-none")?;

    said(&world.gateway, &["access", "zumi/page", "set", "--nobody", "--share-links", "7d"])?;
    browser.open(&format!("{portal}/shares"))?;
    browser.review("shares-first")?;
    browser.evaluate("document.querySelector('input[name=pin]').checked = true")?;
    let wish = [("uses", "3"), ("title", "for the neighbours")];
    browser.submit("form[action=\"/shares\"]", &wish)?;
    browser.until_shown("document.querySelector('figure svg') !== null")?;
    browser.review("share-made")?;
    let link = browser.evaluate("document.querySelector('main code').innerText")?;
    let link = link.as_str().context("a link")?.to_owned();
    let pin = browser.evaluate("document.querySelector('.pin').innerText")?;
    let pin = pin.as_str().context("a PIN")?.to_owned();

    browser.open(&link)?;
    browser.review("share-with-pin")?;
    browser.submit("main form", &[("pin", "no")])?;
    browser.until_shown("document.querySelector('.error') !== null")?;
    browser.review("share-wrong-pin")?;
    browser.submit("main form", &[("pin", &pin)])?;
    browser.until_shown(&format!("location.host === {PAGE:?}"))?;
    ensure!(browser.status()? == 200, "{}", browser.text()?);
    ensure!(browser.evaluate("document.referrer")? == "", "the link is told to the service");

    browser.open(&format!("{portal}/shares"))?;
    browser.until_shown("document.querySelector('.viewers .dot.on') !== null")?;
    browser.review("shares-looking")?;
    browser.open(&link)?;
    browser.review("share-again")?;
    browser.open(&format!("{portal}/shares"))?;
    browser.submit("form[action$=\"/revoke\"]", &[])?;
    browser.until_shown("document.querySelector('[data-share]') === null")?;
    browser.review("shares-over")?;
    browser.open(&link)?;
    browser.until_shown(&heading("This link is over"))?;
    browser.review("share-over")?;
    browser.open(&format!("https://{PAGE}/"))?;
    browser.until_shown(&heading("This link is over"))?;
    browser.review("share-over-at-the-service")?;
    browser.close()
}
