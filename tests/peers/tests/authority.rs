//! The gateway's own authority in a browser that installed its root: no warnings, restarts included; and even its key
//! in a thief's hands opens no other site.

use anyhow::{Context, Result, ensure};
use doorward_control::{Control, ControlSettings, OwnAuthority, SiteSettings, WebFace};
use doorward_core::names::HostName;
use doorward_peers::SOON;
use doorward_peers::browser::{Browser, Trust};
use doorward_world::site::{self, AGENT_FILE, GATEWAY_FILE, PAGE, Site};
use doorward_world::{Node, Process, Program, Shape, World, addresses, built, front, until};
use jiff::Timestamp;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fs;
use std::path::{Path, PathBuf};

const DOMAIN: &str = "gateway.example";
/// Inside the root's domain, and another's.
const INSIDE: &str = "stolen.gateway.example";
const OUTSIDE: &str = "bank.example";
const THIEFS_PORT: u16 = 444;

fn world() -> Result<World> {
    let world = World::build(Shape::home())?;
    for host in [PAGE, INSIDE, OUTSIDE] {
        world.point(host, &addresses::GATEWAY)?;
    }
    Ok(world)
}

/// What `doorward ca --pem` prints, in a file.
fn root_of(node: &Node) -> Result<PathBuf> {
    let print = Program::new(built("doorward")?).args(["ca", "--pem", "--data"]).args([site::data(node)]);
    let root = node.folder().join("root.pem");
    fs::write(&root, node.run_program(&print, SOON)?.ok()?)?;
    Ok(root)
}

fn open_until_served(browser: &mut Browser, url: &str) -> Result<()> {
    until(SOON, &format!("{url} is served"), || {
        browser.open(url)?;
        Ok(browser.status()? == 200)
    })?;
    ensure!(browser.text()?.trim() == "the page of the device", "{}", browser.text()?);
    Ok(())
}

#[test]
fn a_browser_with_the_root_is_not_warned_and_one_without_is() -> Result<()> {
    let world = world()?;
    let mut site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let root = root_of(&world.gateway)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    let page = format!("https://{PAGE}/");
    open_until_served(&mut browser, &page)?;
    ensure!(browser.evaluate("isSecureContext")? == true);
    browser.close()?;

    ensure!(site.gateway.interrupt(SOON)?.success());
    site.gateway = site::serve(&world.gateway)?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;
    open_until_served(&mut browser, &page)?;
    browser.close()?;

    let mut stranger = Browser::trusting(&world.visitor, Trust::Roots(&[]))?;
    let warned = stranger.open(&page).err().context("nobody was warned")?;
    ensure!(warned.to_string().contains("ERR_CERT_AUTHORITY_INVALID"), "{warned}");
    stranger.close()
}

#[tokio::main(flavor = "current_thread")]
async fn steal(data: &Path) -> Result<OwnAuthority> {
    let site = SiteSettings {
        knock: doorward_control::KnockSettings::default(),
        domain: Some(HostName::parse(DOMAIN)?),
        web: WebFace::HTTPS,
        port_host: None,
        tcp_ports: 20000..=20009,
        udp_ports: 30000..=30009,
        session_ports: None,
        suffixes: Vec::new(),
        kept_hosts: Vec::new(),
        portal: None,
        link_hosts: Vec::new(),
        tls_port: None,
        ssh_port: None,
    };
    let control = Control::open(ControlSettings { directory: data.to_owned(), site, now: Timestamp::now() }).await?;
    let stolen = control.kept_authority(&HostName::parse(DOMAIN)?).await?;
    control.close().await;
    stolen.context("an authority in the store")
}

/// A web server with a certificate that the thief signed.
fn impersonate(node: &Node, stolen: &OwnAuthority, host: &str) -> Result<Process> {
    let root_key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(stolen.key.expose().as_slice()))?;
    let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(stolen.certificate.as_slice()), root_key)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Browsers want few days.
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(now.yesterday()?), day(now.tomorrow()?));
    let (chain, secret) = (node.folder().join("thief.pem"), node.folder().join("thief.key"));
    fs::write(&chain, params.signed_by(&key, &issuer)?.pem())?;
    fs::write(&secret, key.serialize_pem())?;
    let server = Program::new("openssl").args(["s_server", "-quiet", "-www", "-accept", &THIEFS_PORT.to_string()]);
    let process = node.spawn(&server.args(["-cert".into(), chain, "-key".into(), secret]))?;
    front::wait_for_port(node, THIEFS_PORT)?;
    Ok(process)
}

#[test]
fn a_browser_refuses_what_a_thief_of_the_key_signs_for_other_sites() -> Result<()> {
    let world = world()?;
    let mut site = Site::start_with(&world, GATEWAY_FILE, AGENT_FILE)?;
    let root = root_of(&world.gateway)?;
    ensure!(site.gateway.interrupt(SOON)?.success());
    let stolen = steal(&site::data(&world.gateway))?;
    let mut browser = Browser::trusting(&world.visitor, Trust::Roots(&[&root]))?;

    let mut thief = impersonate(&world.gateway, &stolen, INSIDE)?;
    browser.open(&format!("https://{INSIDE}:{THIEFS_PORT}/"))?;
    thief.kill()?;
    let _thief = impersonate(&world.gateway, &stolen, OUTSIDE)?;
    let refused = browser.open(&format!("https://{OUTSIDE}:{THIEFS_PORT}/")).err().context("it was taken")?;
    println!("{refused}");
    ensure!(refused.to_string().contains("ERR_CERT_"), "{refused}");
    browser.close()
}
