//! `doorward demo`, the first thing that people try: the built program, seen through a browser.

use anyhow::{Context, Result, ensure};
use doorward_peers::SOON;
use doorward_peers::browser::Browser;
use doorward_world::{Node, Process, Program, Shape, World, built, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long Ctrl-C may take.
const TO_END: Duration = Duration::from_secs(3);

struct Demo {
    process: Process,
    /// All it may write to.
    folder: PathBuf,
}

impl Demo {
    fn start(node: &Node, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir_in(node.folder())?.keep();
        let program = Program::new(built("doorward")?).args(arguments).in_folder(&folder);
        let process = node.spawn(&program.env("TMPDIR", &folder).env("HOME", &folder))?;
        Ok(Self { process, folder })
    }

    /// The place it prints: a line by itself, indented.
    fn place(&mut self) -> Result<String> {
        self.process.wait_for_line("Ctrl-C ends it", SOON)?;
        let said = self.process.log();
        let place = said.lines().find_map(|line| line.strip_prefix("  ")).context("no place was printed")?;
        Ok(place.to_owned())
    }

    fn interrupt(mut self, node: &Node) -> Result<()> {
        let status = self.process.interrupt(TO_END)?;
        ensure!(status.success(), "it ended with {status}");
        self.left_nothing(node)
    }

    fn left_nothing(&self, node: &Node) -> Result<()> {
        ensure!(self.process.log().lines().all(|line| !line.contains("ERROR") && !line.contains("panicked")));
        let files: Vec<_> = std::fs::read_dir(&self.folder)?.collect::<Result<_, _>>()?;
        ensure!(files.is_empty(), "it left {files:?}");
        let left = processes_with(node, &self.folder)?;
        ensure!(left.is_empty(), "it left a process: {left}");
        Ok(())
    }
}

/// The processes whose environment names this folder.
fn processes_with(node: &Node, folder: &Path) -> Result<String> {
    Ok(node.run(&format!("grep -las 'TMPDIR={}' /proc/[0-9]*/environ", folder.display()))?.stdout)
}

/// Waits until the bed's temperature has shown so many different values.
fn until_values(browser: &mut Browser, count: usize) -> Result<()> {
    let watching = "window.values = new Set();
        new MutationObserver(() => values.add(document.getElementById('bed').textContent))
            .observe(document.getElementById('bed'), { childList: true, characterData: true, subtree: true });";
    browser.evaluate(watching)?;
    browser.until(SOON, &format!("values.size >= {count}")).map(drop)
}

/// Waits until the camera shows something, and then something else.
fn until_picture_changes(browser: &mut Browser) -> Result<()> {
    let looking = "window.camera = document.getElementById('camera');
        window.picture = () => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [camera.naturalWidth, camera.naturalHeight];
            canvas.getContext('2d').drawImage(camera, 0, 0);
            return canvas.toDataURL();
        };";
    browser.evaluate(looking)?;
    browser.until(SOON, "camera.naturalWidth > 0")?;
    browser.evaluate("window.first = picture()")?;
    browser.until(SOON, "picture() !== first").map(drop)
}

/// Presses a button and waits for what it says in the end.
fn press(browser: &mut Browser, button: &str, output: &str, says: &str) -> Result<()> {
    browser.evaluate(&format!("document.getElementById('{button}').click()"))?;
    browser.until(SOON, &format!("document.getElementById('{output}').textContent.startsWith('{says}, ')"))?;
    println!("peers: demo in a browser, {button}: {}", browser.evaluate(&format!("{output}.textContent"))?);
    Ok(())
}

#[test]
fn the_sample_device_lives_in_a_browser_and_ctrl_c_ends_it_without_a_trace() -> Result<()> {
    let world = World::build(Shape::home())?;
    let node = &world.visitor;
    let mut demo = Demo::start(node, &["demo"])?;
    let mut browser = Browser::start(node)?;
    browser.open(&demo.place()?)?;
    until_values(&mut browser, 3)?;
    until_picture_changes(&mut browser)?;
    for part in ["live", "events", "camera"] {
        browser.until(SOON, &format!("document.querySelector('#has-{part}.on .state').textContent === 'works'"))?;
    }
    press(&mut browser, "download", "downloaded", "50 MB")?;
    press(&mut browser, "upload", "uploaded", "20 MB")?;
    browser.review("demo")?;
    ensure!(browser.problems().is_empty(), "{:?}", browser.problems());
    ensure!(!processes_with(node, &demo.folder)?.is_empty(), "the demo itself is not seen among the processes");
    // With the page still open and everything in flight.
    demo.interrupt(node)?;
    browser.until(SOON, "document.getElementById('words').textContent.startsWith('lost')")?;
    browser.close()
}

#[test]
fn a_real_service_stands_in_the_place_of_the_sample_device() -> Result<()> {
    let world = World::build(Shape::home())?;
    let node = &world.visitor;
    let page = node.folder().join("page");
    std::fs::create_dir(&page)?;
    std::fs::write(page.join("index.html"), "<!doctype html><title>Mine</title><h1>A page of my own</h1>\n")?;
    let server = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "5000"];
    let mut service = node.spawn(&Program::new("/usr/bin/python3").args(server).in_folder(&page))?;
    service.wait_for_line("Serving HTTP", SOON)?;
    let mut browser = Browser::start(node)?;
    for target in ["http://127.0.0.1:5000", "tcp://127.0.0.1:5000"] {
        let mut demo = Demo::start(node, &["demo", target])?;
        let place = demo.place()?;
        let url = if place.starts_with("http://") { place } else { format!("http://{place}") };
        browser.open(&url)?;
        let text = browser.text()?;
        ensure!(text.trim() == "A page of my own", "{target} at {url}: {text}");
        demo.interrupt(node)?;
    }
    browser.close()
}

#[test]
fn whoever_gives_up_while_it_starts_or_closes_the_terminal_finds_nothing_left_either() -> Result<()> {
    let world = World::build(Shape::home())?;
    let node = &world.visitor;
    let mut demo = Demo::start(node, &["--log", "info", "demo"])?;
    demo.process.wait_for_line("a device joined", SOON)?;
    demo.interrupt(node)?;

    let mut demo = Demo::start(node, &["demo"])?;
    demo.place()?;
    demo.process.hang_up()?;
    ensure!(demo.process.wait(TO_END)?.success());
    until(SOON, "its files are gone", || demo.left_nothing(node).map(|()| true)).map(drop)
}
