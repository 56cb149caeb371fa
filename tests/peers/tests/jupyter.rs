//! A real Jupyter behind two NATs: the teacher's robot, reached by a host of its own and under `/zumi01/`. The configuration is the one that teachers copy from tutorials.

use anyhow::{Context, Result, ensure};
use doorward_peers::browser::Browser;
use doorward_peers::{SOON, Site, until_served};
use doorward_world::{Conditions, Node, Process, Program, Shape, World, addresses, front};
use std::path::Path;
use std::time::Duration;

const AGENT: &str = r#"
[[service]]
name = "jupyter"
title = "Jupyter"
target = "http://127.0.0.1:8888"
main = true
[service.access]
who = "public"

[[service]]
name = "lab"
target = "http://127.0.0.1:8889"
entrances = [{ path = { prefix = "/zumi01/" } }]
[service.access]
who = "public"
"#;

fn start_jupyter(node: &Node, folder: &Path, port: u16, base_url: &str) -> Result<Process> {
    let home = folder.join(format!("jupyter-{port}"));
    std::fs::create_dir_all(&home)?;
    let config = home.join("jupyter_notebook_config.py");
    let lines = [
        "c.NotebookApp.allow_remote_access = True".to_owned(),
        "c.NotebookApp.token = ''".to_owned(),
        "c.NotebookApp.open_browser = False".to_owned(),
        format!("c.NotebookApp.port = {port}"),
        format!("c.NotebookApp.base_url = '{base_url}'"),
    ];
    std::fs::write(&config, lines.join("\n"))?;
    let program = Program::new("jupyter-notebook")
        .args(["--allow-root", "--config"])
        .args([&config])
        .in_folder(&home)
        .env("HOME", &home)
        .env("JUPYTER_RUNTIME_DIR", home.join("runtime"));
    let mut jupyter = node.spawn(&program)?;
    jupyter.wait_for_line("is running at", SOON)?;
    Ok(jupyter)
}

/// Runs code in a kernel as a browser would.
fn kernel(visitor: &Node, arguments: &[&str]) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/kernel.py");
    let program = Program::new("/usr/bin/python3").args([&script]).args(arguments);
    Ok(visitor.run_program(&program, SOON)?.ok()?.trim().to_owned())
}

const URLS: [&str; 2] = ["https://zumi01.gateway.example/", "https://gateway.example/zumi01/"];

/// Starts a kernel at each URL and gives it something to remember; answers their ids.
fn start_kernels(visitor: &Node) -> Result<Vec<String>> {
    let start = |url: &&str| {
        until_served(visitor, &format!("{url}tree"), 200)?;
        let id = kernel(visitor, &["start", url])?;
        let said = kernel(visitor, &["run", url, &id, "x = 41; print(x + 1)"])?;
        ensure!(said == "42", "{url}: the kernel said {said:?}");
        Ok(id)
    };
    URLS.iter().map(start).collect()
}

/// Asks each kernel for what it remembers; the page must be served again first.
fn ask_kernels(visitor: &Node, ids: &[String], event: &str) -> Result<()> {
    for (url, id) in URLS.iter().zip(ids) {
        let back = until_served(visitor, &format!("{url}tree"), 200)?;
        println!("peers: jupyter served again {:.2} s after {event}", back.as_secs_f32());
        let said = kernel(visitor, &["run", url, id, "print(x + 2)"])?;
        ensure!(said == "43", "{url}: after {event} the kernel said {said:?}");
    }
    Ok(())
}

#[test]
fn a_kernel_behind_two_nats_keeps_its_state_over_a_cut_of_twenty_seconds() -> Result<()> {
    let slow = Conditions::new().delay(Duration::from_millis(25));
    let world = World::build(Shape::home().behind_carrier_nat().over_line(slow))?;
    world.point("zumi01.gateway.example", &addresses::GATEWAY)?;
    let site = Site::start(&world, "zumi01", "domain = \"gateway.example\"\n", AGENT)?;
    let _by_host = start_jupyter(&world.device, site.folder.path(), 8888, "/")?;
    let _by_path = start_jupyter(&world.device, site.folder.path(), 8889, "/zumi01/")?;
    let ids = start_kernels(&world.visitor)?;
    let cut = world.line()?.cut()?;
    std::thread::sleep(Duration::from_secs(20));
    cut.mend()?;
    ask_kernels(&world.visitor, &ids, "a cut of 20 s")
}

#[test]
fn a_kernel_runs_behind_nginx_and_stays_when_caddy_takes_its_place() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    world.point("zumi01.gateway.example", &addresses::GATEWAY)?;
    let mut nginx = front::nginx(&world.gateway)?;
    let site = Site::start(&world, "zumi01", front::GATEWAY_FILE, AGENT)?;
    let _by_host = start_jupyter(&world.device, site.folder.path(), 8888, "/")?;
    let _by_path = start_jupyter(&world.device, site.folder.path(), 8889, "/zumi01/")?;
    let ids = start_kernels(&world.visitor)?;
    nginx.stop(SOON)?;
    let _caddy = front::caddy(&world.gateway)?;
    ask_kernels(&world.visitor, &ids, "Caddy took nginx's place")
}

const UNTOUCHED: &str = r#"
[[service]]
name = "jupyter"
target = "http://localhost:8888"
preset = "jupyter"
main = true
[service.access]
who = "public"

[[service]]
name = "stranger"
target = "http://127.0.0.1:8000"
[service.access]
who = "public"
"#;

/// A kernel as the notebook's own pages start and use it.
const RUN: &str = "(async () => {
    const token = document.cookie.match(/_xsrf=([^;]*)/)[1];
    const headers = { 'X-XSRFToken': token, 'Content-Type': 'application/json' };
    const started = await fetch('/api/kernels', { method: 'POST', headers, body: '{}' });
    if (started.status !== 201) return 'no kernel: ' + started.status;
    const { id } = await started.json();
    const socket = new WebSocket(location.origin.replace('http', 'ws') + `/api/kernels/${id}/channels?session_id=s`);
    return await new Promise(done => {
        socket.onerror = () => done('no WebSocket');
        socket.onopen = () => socket.send(JSON.stringify({
            header: { msg_id: 'm', msg_type: 'execute_request', username: 'v', session: 's', version: '5.3' },
            parent_header: {}, metadata: {}, channel: 'shell',
            content: { code: 'print(6 * 7)', silent: false, store_history: true, user_expressions: {}, allow_stdin: false },
        }));
        socket.onmessage = ({ data }) => {
            const heard = JSON.parse(data);
            if (heard.msg_type === 'stream' && heard.parent_header.msg_id === 'm') done(heard.content.text.trim());
        };
    });
})()";

/// What a page of somebody else would try with the visitor's log-in.
const ATTACK: &str = "(async () => {
    const home = 'https://zumi01.gateway.example';
    const post = await fetch(home + '/api/kernels', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' });
    const opened = await new Promise(done => {
        const socket = new WebSocket(home.replace('http', 'ws') + '/api/kernels/KERNEL/channels?session_id=evil');
        socket.onopen = () => done('open');
        socket.onerror = () => done('refused');
    });
    return [post.type, opened];
})()";

/// As Debian installs it: no configuration, no password, the token of its own log.
fn start_untouched(node: &Node, folder: &Path) -> Result<(Process, String)> {
    let home = folder.join("untouched");
    std::fs::create_dir_all(&home)?;
    // Jupyter itself refuses root without the flag, and there is no browser on the device to open.
    let program = Program::new("jupyter-notebook").args(["--allow-root", "--no-browser"]).in_folder(&home);
    let program = program.env("HOME", &home).env("JUPYTER_RUNTIME_DIR", home.join("runtime"));
    let mut jupyter = node.spawn(&program)?;
    let line = jupyter.wait_for_line("?token=", SOON)?;
    let token = line.split("?token=").nth(1).context("a token")?.trim().to_owned();
    Ok((jupyter, token))
}

#[test]
fn an_untouched_jupyter_runs_a_kernel_for_its_visitor_and_not_for_other_pages() -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    for host in ["zumi01", "stranger-zumi01"] {
        world.point(&format!("{host}.gateway.example"), &addresses::GATEWAY)?;
    }
    let site = Site::start(&world, "zumi01", "domain = \"gateway.example\"\n", UNTOUCHED)?;
    let (_jupyter, token) = start_untouched(&world.device, site.folder.path())?;
    let _stranger = world.device.spawn(&Program::new("/usr/bin/python3").args(["-m", "http.server", "8000"]))?;
    until_served(&world.visitor, "https://zumi01.gateway.example/login", 200)?;
    let mut browser = Browser::start(&world.visitor)?;
    browser.open(&format!("https://zumi01.gateway.example/?token={token}"))?;
    ensure!(browser.status()? == 200, "the page: {}", browser.status()?);
    let said = browser.evaluate(RUN)?;
    ensure!(said == "42", "the kernel said {said}");
    let kernels = browser.evaluate("fetch('/api/kernels').then(kernels => kernels.json())")?;
    let kernel = kernels[0]["id"].as_str().context("the kernel's id")?.to_owned();

    until_served(&world.visitor, "https://stranger-zumi01.gateway.example/", 200)?;
    browser.open("https://stranger-zumi01.gateway.example/")?;
    let outcome = browser.evaluate(&ATTACK.replace("KERNEL", &kernel))?;
    ensure!(outcome == serde_json::json!(["opaque", "refused"]), "a stranger's page: {outcome}");
    browser.open("https://zumi01.gateway.example/tree")?;
    let kernels = browser.evaluate("fetch('/api/kernels').then(kernels => kernels.json())")?;
    ensure!(kernels.as_array().is_some_and(|kernels| kernels.len() == 1), "a stranger's page started one: {kernels}");
    Ok(())
}
