//! A real OctoPrint with its virtual printer, and a webcam on another port that takes one client only, behind a carrier's
//! NAT: by a host of its own and under a path, with its log-in, its live socket, a large upload, a range of a timelapse,
//! its own opinion of the proxy in front of it, and the webcam's picture where it shows it.

use anyhow::{Context, Result, ensure};
use doorward_peers::browser::Browser;
use doorward_peers::film::{WIDTH, film, number};
use doorward_peers::{SOON, Site, until_served};
use doorward_world::{Node, Process, Program, Shape, World, addresses, until};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const VERSION: &str = "1.11.8";
/// Fetching and building it, where no earlier run did.
const INSTALL: Duration = Duration::from_secs(900);
/// It analyses itself and its plugins first.
const START: Duration = Duration::from_secs(180);
const VISIT: Duration = Duration::from_secs(300);
const UPLOAD: usize = 200 * 1024 * 1024;

const AGENT: &str = r#"
[[service]]
name = "octoprint"
target = "http://127.0.0.1:5000"
preset = "octoprint"
main = true
mounts = { "/webcam/" = "camera+http://127.0.0.1:8080/" }
entrances = [{ path = { prefix = "/octo1/" } }]
[service.access]
who = "public"
"#;

const SETTINGS: &str = "
server:
  firstRun: false
  onlineCheck: {enabled: false}
  pluginBlacklist: {enabled: false}
plugins:
  _disabled: [softwareupdate, announcements, tracking, errortracking, discovery, pluginmanager, health_check]
  virtual_printer: {enabled: true}
serial: {autoconnect: true, port: VIRTUAL}
webcam: {stream: /webcam/?action=stream, snapshot: 'http://127.0.0.1:8080/'}
";

/// The program, in an environment beside the built tests.
fn installed() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("octoprint-{VERSION}"));
    let ready = place.join("ready");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| -> Result<()> {
            let status = std::process::Command::new(program).args(arguments).status()?;
            ensure!(status.success(), "{} {arguments:?}: {status}", program.display());
            Ok(())
        };
        println!("peers: fetching OctoPrint {VERSION}, for at most {} s", INSTALL.as_secs());
        run(Path::new("/usr/bin/python3"), &["-m", "venv", &place.display().to_string()])?;
        let wanted = format!("OctoPrint=={VERSION}");
        let limit = INSTALL.as_secs().to_string();
        let pip = place.join("bin/pip").display().to_string();
        let install = [limit.as_str(), &pip, "install", "--quiet", "--disable-pip-version-check", &wanted];
        run(Path::new("/usr/bin/timeout"), &install).context("OctoPrint cannot be had from PyPI")?;
        std::fs::write(ready, "")?;
    }
    Ok(place.join("bin/octoprint"))
}

fn start(node: &Node, folder: &Path) -> Result<(Process, Process)> {
    let (program, base) = (installed()?, folder.join("octoprint"));
    std::fs::create_dir_all(base.join("timelapse"))?;
    std::fs::write(base.join("config.yaml"), SETTINGS)?;
    let timelapse: Vec<u8> = (0..40_000_u32).map(|n| u8::try_from(n % 250).unwrap_or_default()).collect();
    std::fs::write(base.join("timelapse/print.mp4"), timelapse)?;
    let octoprint = |arguments: &[&str]| {
        Program::new(&program).args(["--basedir".as_ref(), base.as_os_str()]).args(arguments).env("HOME", folder)
    };
    node.run_program(&octoprint(&["user", "add", "maker", "--password", "secret", "--admin"]), START)?.ok()?;
    let camera = film(node, 8080)?;
    let mut octoprint =
        node.spawn(&octoprint(&["serve", "--iknowwhatimdoing", "--host", "127.0.0.1", "--port", "5000"]))?;
    octoprint.wait_for_line("Listening on", START)?;
    Ok((octoprint, camera))
}

const URLS: [(&str, &str); 2] =
    [("https://octo.gateway.example", "session_P443"), ("https://gateway.example/octo1", "session_P443_R|octo1")];

/// As the owner: logs in, says where the webcam is, and looks at it where OctoPrint shows it.
fn look_at_the_webcam(browser: &mut Browser, url: &str) -> Result<()> {
    browser.open(&format!("{url}/"))?;
    browser.until(SOON, "document.readyState === 'complete' && !!document.querySelector('#login-button')")?;
    browser.evaluate(
        "for (const [id, typed] of [['login-user', 'maker'], ['login-password', 'secret']]) document.getElementById(id).value = typed;
         document.getElementById('login-button').click()",
    )?;
    browser
        .until(START, "$('#page-container-main').is(':visible') && !!document.querySelector('#control_link a')")
        .with_context(|| browser.text().unwrap_or_default())?;
    let path = browser.evaluate("location.pathname.replace(/\\/$/, '')")?;
    let stream = format!("{}/webcam/?action=stream", path.as_str().context("a path")?);
    browser.evaluate(&format!(
        "(async () => {{ await OctoPrint.settings.savePluginSettings('classicwebcam', {{ stream: '{stream}' }}); }})()"
    ))?;
    browser.evaluate("document.querySelector('#control_link a').click()")?;
    browser.until(SOON, &format!("document.querySelector('#webcam_image')?.naturalWidth === {WIDTH}"))?;
    let shown = "document.querySelector('#webcam_image')";
    let source = browser.evaluate(&format!("{shown}.getAttribute('src')"))?;
    ensure!(source == stream.as_str(), "{url}: OctoPrint looks at {source}");
    let first = number(browser, shown)?;
    until(SOON, "the webcam's picture moves on", || Ok(number(browser, shown)? > first + 20))?;

    browser.evaluate(&format!(
        "window.snapshot = document.createElement('img'); snapshot.src = '{}'; document.body.append(snapshot); snapshot.decode()",
        stream.replace("stream", "snapshot")
    ))?;
    let (here, there) = (number(browser, shown)?, number(browser, "snapshot")?);
    println!("peers: {url}: the webcam showed {first} and then {here}, a snapshot {there}");
    ensure!(here.abs_diff(there) <= 10, "{url}: the webcam shows {here}, a snapshot {there}");
    Ok(())
}

#[test]
fn octoprint_works_whole_under_a_host_and_under_a_path() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    world.point("octo.gateway.example", &addresses::GATEWAY)?;
    let site = Site::start(&world, "octo", "domain = \"gateway.example\"\n", AGENT)?;
    let _running = start(&world.device, site.folder.path())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/octoprint.py");
    for (url, session) in URLS {
        until_served(&world.visitor, &format!("{url}/login/"), 200)?;
        let visitor = Program::new("/usr/bin/python3").args([&script]);
        let visitor = visitor.args([url, "maker", "secret", &UPLOAD.to_string()]);
        let started = Instant::now();
        let told = world.visitor.run_program(&visitor, VISIT)?.ok()?;
        println!("peers: {url}, {:.1} s:\n{told}", started.elapsed().as_secs_f32());
        ensure!(told.contains(session), "{url}: the cookies are {told}");
        ensure!(told.lines().count() == 5, "{told}");
    }
    let mut browser = Browser::start(&world.visitor)?;
    for (url, _) in URLS {
        browser.open(&format!("{url}/reverse_proxy_test/"))?;
        browser.until(SOON, "document.querySelectorAll('tr.success').length >= 5")?;
        let wrong = browser.evaluate("[...document.querySelectorAll('tr.error')].map(row => row.innerText)")?;
        ensure!(wrong == serde_json::json!([]), "{url}: OctoPrint complains of {wrong}");
        look_at_the_webcam(&mut browser, url)?;
    }
    browser.close()
}
