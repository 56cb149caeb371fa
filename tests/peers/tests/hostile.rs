//! A device's page that wants what is not its own, in a real browser whose person is signed in: at the portal, and at a
//! sibling service. On the way it looks at the pages about identity providers.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_world::site::{self, GATEWAY_FILE, Site};
use doorward_world::{Node, Program, Shape, World, addresses, built, until};
use serde_json::Value;
use std::fs;

const PARENT: &str = "gateway.example";
const PORTAL: &str = "portal.gateway.example";
const HOSTILE: &str = "printer-zumi.gateway.example";
const VAULT: &str = "vault-zumi.gateway.example";
const PASSWORD: &str = "drei müde Ziegen";
const SECRET: &str = "the secret of the vault";

const PROVIDER: &str = r#"
[[sign-in.oidc]]
name = "school"
title = "the school's account"
issuer = "https://127.0.0.1:1"
client-id = "doorward"
"#;

fn said(node: &Node, words: &[&str]) -> Result<String> {
    let program = Program::new(built("doorward")?).args(words).args(["--data"]).args([site::data(node)]);
    node.run_program(&program, SOON)?.ok()
}

/// While it goes from page to page, questions to the one before fail.
/// olga, the first owner.
fn sign_in(browser: &mut Browser, world: &World) -> Result<()> {
    let page = format!("https://{PORTAL}");
    until(SOON, "the portal is served", || {
        browser.open(&format!("{page}/sign-in"))?;
        Ok(browser.status()? == 200)
    })?;
    let link = said(&world.gateway, &["people", "owner-link", "--no-qr"])?;
    browser.open(link.trim())?;
    browser.until_shown("document.querySelector('form[action=\"/welcome/accept\"]') !== null")?;
    let answer = [("name", "olga"), ("title", "Olga"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.send_form("/welcome/accept", &answer)?;
    browser.until_shown("location.pathname === '/'")
}

fn look_at_providers(browser: &mut Browser) -> Result<()> {
    browser.open(&format!("https://{PORTAL}/account"))?;
    ensure!(browser.text()?.contains("Link with the school's account"), "{}", browser.text()?);
    browser.review("account-with-provider")?;
    browser.send_form("/account/providers/school", &[("password", PASSWORD)])?;
    browser.until_said("does not answer as it should")?;
    browser.review("account-provider-away")?;
    let known = "fetch('/api/v1/people/olga/data').then((answer) => answer.json()).then((data) => data.account.name)";
    ensure!(browser.evaluate(known)? == "olga");
    Ok(())
}

#[test]
fn a_hostile_devices_page_reads_neither_the_portal_nor_a_sibling_and_does_nothing_there() -> Result<()> {
    let world = World::build(Shape::home())?;
    for host in [PORTAL, HOSTILE, VAULT] {
        world.point(host, &addresses::GATEWAY)?;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/hostile.py");
    let targets = Program::new("/usr/bin/python3").args([script, "8101", "8102"]);
    let mut targets = world.device.spawn(&targets)?;
    targets.wait_for_line("ready", SOON)?;
    let agent_file = "[[service]]\nname = \"printer\"\ntarget = \"http://127.0.0.1:8101\"\naccess = { who = \"public\" }\n\
                      [[service]]\nname = \"vault\"\ntarget = \"http://127.0.0.1:8102\"\n\
                      access = { who = \"people\", people = [\"olga\"] }\n";
    let _site = Site::start_with(&world, &format!("{GATEWAY_FILE}{PROVIDER}"), agent_file)?;
    let root = world.gateway.folder().join("root.pem");
    fs::write(&root, said(&world.gateway, &["ca", "--pem"])?)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    sign_in(&mut browser, &world)?;
    look_at_providers(&mut browser)?;
    browser.open(&format!("https://{VAULT}/"))?;
    browser.until_shown(&format!("document.body.innerText.includes({SECRET:?})"))?;
    let socket = site::data(&world.gateway).join("owner.sock");
    let ask = format!("curl -sS --unix-socket '{}' http://doorward/service/", socket.display());
    let services: Value = serde_json::from_str(&world.gateway.run(&ask)?.ok()?)?;
    let number = services.as_array().and_then(|all| all.iter().find(|one| one["name"] == "zumi/vault"));
    let number = number.context("the vault is listed")?["id"].to_string();

    until(SOON, "the device's page is served", || {
        browser.open(&format!("https://{HOSTILE}/"))?;
        Ok(browser.status()? == 200)
    })?;
    let names = ["__Host-doorward".to_owned(), "__Host-doorward-state".to_owned(), format!("__Host-doorward-{number}")];
    let attack = format!("attack({PORTAL:?}, {VAULT:?}, {PARENT:?}, {names:?})");
    // It takes its time: started here, looked at when it is over.
    browser.evaluate(&format!("{attack}.then((all) => (window.outcome = all)); true"))?;
    until(SOON * 6, "all was tried", || Ok(browser.evaluate("window.outcome !== undefined")? == true))?;
    let outcome = browser.evaluate("window.outcome")?;
    let outcome = outcome.as_object().context("what came of it")?;
    println!("{outcome:#?}");
    ensure!(outcome.len() == 41, "{} were tried", outcome.len());
    for (attempt, read) in outcome {
        let read = read.as_str().context("a text")?;
        ensure!(!read.contains(SECRET) && !read.contains("olga") && !read.contains("Olga"), "{attempt}: {read}");
        ensure!(!read.contains("__Host-") && !read.contains("tossed"), "{attempt}: {read}");
    }

    let seen: Vec<(String, String, String)> =
        serde_json::from_str(&world.device.run("curl -sS http://127.0.0.1:8102/seen")?.ok()?)?;
    ensure!(!seen.is_empty(), "the vault was looked at");
    let deeds: Vec<_> = seen.iter().filter(|(method, _, upgrade)| method != "GET" || !upgrade.is_empty()).collect();
    ensure!(deeds.is_empty(), "these came to the vault: {deeds:?}");
    // Everything is as it was.
    browser.open(&format!("https://{PORTAL}/account"))?;
    ensure!(browser.status()? == 200 && browser.text()?.contains("olga"), "{}", browser.text()?);
    browser.open(&format!("https://{VAULT}/"))?;
    ensure!(browser.text()?.contains(SECRET), "{}", browser.text()?);

    // Signed out, the button leads to the provider.
    browser.open(&format!("https://{PORTAL}/account"))?;
    browser.send_form("/sign-out", &[])?;
    browser.until_shown("document.querySelector('form[action=\"/sign-in/with/school\"]') !== null")?;
    browser.review("sign-in-with-provider")?;
    browser.send_form("/sign-in/with/school", &[])?;
    browser.until_shown("document.querySelector('[role=alert]') !== null")?;
    browser.review("sign-in-provider-away")?;
    browser.close()
}
