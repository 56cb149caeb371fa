//! From the first owner's link to a passkey, in a real browser, which looks at every page on its way.

use anyhow::{Context, Result, ensure};
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
fn until_shown(browser: &mut Browser, condition: &str) -> Result<()> {
    let condition = format!("document.readyState === 'complete' && ({condition})");
    until(SOON, &condition, || Ok(browser.evaluate(&condition).is_ok_and(|is| is == true)))
        .with_context(|| browser.text().unwrap_or_default())?;
    Ok(())
}

/// Fills the form that is sent there, and presses its button.
fn send(browser: &mut Browser, to: &str, fields: &[(&str, &str)]) -> Result<()> {
    let form = format!("document.querySelector('form[action=\"{to}\"]')");
    for (name, value) in fields {
        browser.evaluate(&format!("{form}.elements[{name:?}].value = {value:?}; true"))?;
    }
    browser.evaluate(&format!("setTimeout(() => {form}.querySelector('button').click()); true"))?;
    Ok(())
}

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
    until_shown(&mut browser, "document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    ensure!(browser.evaluate("location.hash")? == "", "the secret stays in the address");
    browser.review("welcome-first")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    send(&mut browser, "/welcome/accept", &answer)?;
    until_shown(&mut browser, "location.pathname === '/'")?;

    browser.open(&format!("{page}/account"))?;
    browser.review("account")?;
    send(&mut browser, "/account/totp", &[("password", PASSWORD)])?;
    until_shown(&mut browser, "document.querySelector('figure svg') !== null")?;
    browser.review("account-app")?;
    browser.open(&format!("{page}/account"))?;
    send(&mut browser, "/account/passkeys", &[("password", PASSWORD)])?;
    until_shown(&mut browser, &heading("Recovery codes"))?;
    browser.review("recovery-codes")?;
    browser.open(&format!("{page}/account"))?;
    browser.review("account-with-passkey")?;

    send(&mut browser, "/sign-out", &[])?;
    until_shown(&mut browser, &heading("Sign in"))?;
    browser.review("sign-in")?;
    send(&mut browser, "/sign-in", &[("name", "olga"), ("password", PASSWORD)])?;
    until_shown(&mut browser, &heading("One more step"))?;
    browser.review("sign-in-second-step")?;
    send(&mut browser, "/sign-in/passkey", &[])?;
    until_shown(&mut browser, "location.pathname === '/'")?;
    send(&mut browser, "/sign-out", &[])?;
    until_shown(&mut browser, &heading("Sign in"))?;
    send(&mut browser, "/sign-in/passkey", &[])?;
    until_shown(&mut browser, "location.pathname === '/'")?;
    browser.open(&format!("{page}/account"))?;
    ensure!(browser.text()?.contains("olga"), "{}", browser.text()?);
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    browser.close()
}
