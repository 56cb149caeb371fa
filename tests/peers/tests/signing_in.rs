//! From the first owner's link to a passkey, in a real browser, which looks at every page on its way.

use anyhow::{Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, Site};
use doorward_world::{Node, Program, Shape, World, addresses, built, until};
use std::fs;

const PORTAL: &str = "portal.gateway.example";
const PASSWORD: &str = "drei müde Ziegen";

fn said(node: &Node, words: &[&str]) -> Result<String> {
    let program = Program::new(built("doorward")?).args(words).args(["--data"]).args([site::data(node)]);
    node.run_program(&program, SOON)?.ok()
}

/// While it goes from page to page, questions to the one before fail.
fn heading(words: &str) -> String {
    format!("document.querySelector('h1')?.innerText === {words:?}")
}

#[test]
fn the_first_owner_comes_in_by_a_link_adds_a_passkey_and_signs_in_by_it() -> Result<()> {
    let world = World::build(Shape::home())?;
    world.point(PORTAL, &addresses::GATEWAY)?;
    let _site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let root = world.gateway.folder().join("root.pem");
    fs::write(&root, said(&world.gateway, &["ca", "--pem"])?)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    browser.hold_passkeys()?;

    let page = format!("https://{PORTAL}");
    until(SOON, "the portal is served", || {
        browser.open(&format!("{page}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    browser.review("sign-in-before-setup")?;
    browser.open(&format!("{page}/welcome"))?;
    browser.review("welcome")?;
    let link = said(&world.gateway, &["people", "owner-link", "--no-qr"])?;
    // From here it would be another place on the same page.
    browser.open("about:blank")?;
    browser.open(link.trim())?;
    browser.until_shown("document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    ensure!(browser.evaluate("location.hash")? == "", "the secret stays in the address");
    browser.review("welcome-first")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.send_form("/welcome/accept", &answer)?;
    browser.until_shown("location.pathname === '/'")?;

    browser.open(&format!("{page}/account"))?;
    browser.review("account")?;
    browser.send_form("/account/totp", &[("password", PASSWORD)])?;
    browser.until_shown("document.querySelector('figure svg') !== null")?;
    browser.review("account-app")?;
    browser.open(&format!("{page}/account"))?;
    browser.send_form("/account/passkeys", &[("password", PASSWORD)])?;
    browser.until_shown(&heading("Recovery codes"))?;
    browser.review("recovery-codes")?;
    browser.open(&format!("{page}/account"))?;
    browser.review("account-with-passkey")?;

    browser.send_form("/sign-out", &[])?;
    browser.until_shown(&heading("Sign in"))?;
    browser.review("sign-in")?;
    browser.send_form("/sign-in", &[("name", "olga"), ("password", PASSWORD)])?;
    browser.until_shown(&heading("One more step"))?;
    browser.review("sign-in-second-step")?;
    browser.send_form("/sign-in/passkey", &[])?;
    browser.until_shown("location.pathname === '/'")?;
    browser.send_form("/sign-out", &[])?;
    browser.until_shown(&heading("Sign in"))?;
    browser.send_form("/sign-in/passkey", &[])?;
    browser.until_shown("location.pathname === '/'")?;
    browser.open(&format!("{page}/account"))?;
    ensure!(browser.text()?.contains("olga"), "{}", browser.text()?);
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()
}
