//! Behind a web server that holds the public ports: nginx and Caddy with exactly what `doorward print` prints, the
//! agent's link and a real Jupyter both through them, by a host name and under a path.

use anyhow::{Context, Result, ensure};
use doorward_peers::{SOON, doorward, invite, start_agent, until_served};
use doorward_world::{Node, Process, Program, Shape, World, addresses, front};
use std::fs;
use std::path::Path;

const AGENT: &str = r#"
[[service]]
name = "jupyter"
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

const BEHIND: [&str; 4] = ["--domain", "gateway.example", "--behind", "127.0.0.1:8080"];

fn printed(node: &Node, what: &[&str]) -> Result<String> {
    let arguments = [&["print"], what, &BEHIND].concat();
    node.run_program(&doorward(&node.folder(), &arguments)?, SOON)?.ok()
}

/// nginx as it is installed, with a certificate for everything, and the printed parts.
fn start_nginx(node: &Node, snippet: &str) -> Result<Process> {
    let folder = node.folder();
    fs::write(folder.join("doorward.conf"), snippet)?;
    let settings = format!(
        "pid {folder}/nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n \
         uwsgi_temp_path {folder}; scgi_temp_path {folder};\n ssl_certificate {folder}/front.crt;\n \
         ssl_certificate_key {folder}/front.key;\n {site}\n}}\n",
        folder = folder.display(),
        site = if snippet.contains("server_name") {
            "include doorward.conf;".to_owned()
        } else {
            "server { listen 443 ssl; server_name gateway.example; include doorward.conf;\n \
             location / { return 418; } location ~ \\.css$ { return 418; } }"
                .to_owned()
        },
    );
    fs::write(folder.join("nginx.conf"), settings)?;
    let file = folder.join("nginx.conf");
    let nginx = Program::new("nginx").args(["-g", "daemon off; user root;", "-c"]).args([file]);
    begin(node, &nginx)
}

/// Caddy that makes its own certificates, with the printed parts.
fn start_caddy(node: &Node, snippet: &str) -> Result<Process> {
    let folder = node.folder();
    let site = if snippet.contains("*.gateway.example") {
        snippet.to_owned()
    } else {
        format!("gateway.example {{\n{snippet}\nrespond 418\n}}\n")
    };
    let global =
        format!("{{\n admin off\n local_certs\n skip_install_trust\n storage file_system {}\n}}\n", folder.display());
    let file = folder.join("Caddyfile");
    fs::write(&file, global + &site)?;
    let caddy = Program::new("caddy").args(["run", "--adapter", "caddyfile", "--config"]).args([file]);
    begin(node, &caddy.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder))
}

fn begin(node: &Node, program: &Program) -> Result<Process> {
    let process = node.spawn(program)?;
    front::wait_for_port(node, 443)?;
    Ok(process)
}

fn start_jupyter(node: &Node, folder: &Path, port: u16, base_url: &str) -> Result<Process> {
    let home = folder.join(format!("jupyter-{port}"));
    fs::create_dir_all(&home)?;
    let keys = format!(
        "c.NotebookApp.allow_remote_access = True\nc.NotebookApp.token = ''\nc.NotebookApp.open_browser = False\n\
         c.NotebookApp.port = {port}\nc.NotebookApp.base_url = '{base_url}'\n"
    );
    fs::write(home.join("jupyter_notebook_config.py"), keys)?;
    let program = Program::new("jupyter-notebook").args(["--allow-root", "--config=jupyter_notebook_config.py"]);
    let program = program.in_folder(&home).env("HOME", &home).env("JUPYTER_RUNTIME_DIR", home.join("runtime"));
    let mut jupyter = node.spawn(&program)?;
    jupyter.wait_for_line("is running at", SOON)?;
    Ok(jupyter)
}

fn runs_a_kernel(visitor: &Node, url: &str) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/kernel.py");
    let ask = |arguments: &[&str]| -> Result<String> {
        let program = Program::new("/usr/bin/python3").args([&script]).args(arguments);
        Ok(visitor.run_program(&program, SOON)?.ok()?.trim().to_owned())
    };
    until_served(visitor, &format!("{url}tree"), 200)?;
    let kernel = ask(&["start", url])?;
    let said = ask(&["run", url, &kernel, "print(6 * 7)"])?;
    ensure!(said == "42", "{url}: the kernel said {said:?}");
    Ok(())
}

fn served_behind(server: &str, start: fn(&Node, &str) -> Result<Process>) -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    world.point("zumi01.gateway.example", &addresses::GATEWAY)?;
    let (gateway, folder) = (&world.gateway, tempfile::tempdir()?);
    front::make_certificate(gateway)?;
    fs::write(folder.path().join("gateway.toml"), "")?;
    fs::write(folder.path().join("agent.toml"), AGENT)?;
    let mut before = start(gateway, &printed(gateway, &[server])?)?;
    let serve = [&["serve", "--config", "gateway.toml", "--data", "gateway"], &BEHIND[..]].concat();
    let mut serving = gateway.spawn(&doorward(folder.path(), &serve)?)?;
    serving.wait_for_line("Doorward serves", SOON)?;
    fs::write(folder.path().join("invite"), invite(gateway, &folder.path().join("gateway"))?)?;
    let join = doorward(folder.path(), &["join", "invite", "--name", "zumi01", "--state", "agent"])?;
    world.device.run_program(&join, SOON)?.ok()?;
    let mut agent = start_agent(&world.device, folder.path())?;
    let connected = agent.wait_for_line("connected", SOON)?;
    ensure!(connected.contains("carrier=\"websocket\""), "{connected}");
    let _by_host = start_jupyter(&world.device, folder.path(), 8888, "/")?;
    let _by_path = start_jupyter(&world.device, folder.path(), 8889, "/zumi01/")?;
    runs_a_kernel(&world.visitor, "https://zumi01.gateway.example/")?;
    runs_a_kernel(&world.visitor, "https://gateway.example/zumi01/")?;

    // The same under one path of a site that has other things, too.
    before.stop(SOON)?;
    let _inside = start(gateway, &printed(gateway, &[server, "--path", "/zumi01/"])?)?;
    runs_a_kernel(&world.visitor, "https://gateway.example/zumi01/")?;
    until_served(&world.visitor, "https://gateway.example/elsewhere", 418)?;

    // Nobody else is heard, and nothing else listens.
    let listening = gateway.run("ss -Hltnp")?.ok()?;
    let doors: Vec<_> = listening.lines().filter(|line| line.contains("doorward")).collect();
    ensure!(doors.len() == 2, "it listens at 127.0.0.1:8080 and for operations: {doors:?}");
    ensure!(doors.iter().all(|line| line.contains("127.0.0.1:")), "{doors:?}");
    let hidden = gateway.run("curl -sS -o /dev/null -D - http://127.0.0.1:8080/ -H 'Host: gateway.example'")?.ok()?;
    ensure!(!hidden.to_ascii_lowercase().contains("strict-transport-security"), "{hidden}");
    hidden.lines().next().context("an answer").map(drop)
}

#[test]
fn jupyter_and_the_link_pass_nginx_with_the_printed_settings() -> Result<()> {
    served_behind("nginx", start_nginx)
}

#[test]
fn jupyter_and_the_link_pass_caddy_with_the_printed_settings() -> Result<()> {
    served_behind("caddy", start_caddy)
}
