//! Behind a web server that holds the public ports: nginx, Caddy and Apache with exactly what `doorward print` prints,
//! the agent's link and a real Jupyter both through them, by a host name and under a path, over a port and a socket.

use anyhow::{Context, Result, ensure};
use doorward_peers::{SOON, doorward, invite, start_agent, until_served};
use doorward_world::{Node, Process, Program, Shape, World, addresses, front};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

const AGENT: &str = r#"
[[service]]
name = "jupyter"
target = "http://127.0.0.1:8888"
main = true
[service.access]
who = "public"
from = ["198.51.100.10", "2001:db8:20::10"]   # the visitor, as only the web server in front can tell

[[service]]
name = "lab"
target = "http://127.0.0.1:8889"
entrances = [{ path = { prefix = "/zumi01/" } }]
[service.access]
who = "public"

[[service]]
name = "own"
target = "http://127.0.0.1:8888"
[service.access]
who = "public"
from = ["127.0.0.0/8", "192.0.2.66"]      # nobody who comes through a web server
"#;

/// Where the web server reaches the gateway: on the gateway's machine, in a folder of that node.
enum Place {
    Port,
    Socket,
}

impl Place {
    fn written(&self, node: &Node) -> String {
        match self {
            Self::Port => "127.0.0.1:8080".to_owned(),
            Self::Socket => format!("unix:{}/web.sock", room(node).display()),
        }
    }

    /// Doors of the gateway that stand open on its machine: beside this one, that for operations.
    fn tcp_doors(&self) -> usize {
        match self {
            Self::Port => 2,
            Self::Socket => 1,
        }
    }

    /// curl's way to it.
    fn url(&self, node: &Node) -> String {
        match self {
            Self::Port => "http://127.0.0.1:8080/".to_owned(),
            Self::Socket => format!("--unix-socket {}/web.sock http://localhost/", room(node).display()),
        }
    }
}

/// Where the socket stands.
fn room(node: &Node) -> PathBuf {
    node.folder().join("doorward")
}

/// Gives the socket's folder to the group of Debian's web servers, as an owner would. Where this process may not, as
/// in a user namespace, they stay root.
fn share(node: &Node) -> Result<&'static str> {
    fs::create_dir(room(node))?;
    if let Err(error) = chown(room(node), None, Some(WEB_GROUP)) {
        println!("peers: the web server runs as root, since its group cannot have a folder here: {error}");
        return Ok("root");
    }
    // Neither world nor others may come in: the group can, by the folder and by the socket's own mode.
    fs::set_permissions(room(node), fs::Permissions::from_mode(0o750))?;
    for above in node
        .folder()
        .ancestors()
        .take_while(|path| path.starts_with(std::env::temp_dir()) && *path != std::env::temp_dir())
    {
        fs::set_permissions(above, fs::Permissions::from_mode(0o711))?;
    }
    Ok("www-data")
}

/// www-data, the same on every Debian (base-passwd).
const WEB_GROUP: u32 = 33;

fn printed(node: &Node, what: &[&str], behind: &str) -> Result<String> {
    let arguments = [&["print"], what, &["--domain", "gateway.example", "--behind", behind]].concat();
    node.run_program(&doorward(&node.folder(), &arguments)?, SOON)?.ok()
}

/// nginx as it is installed, with a certificate for everything, and the printed parts.
fn start_nginx(node: &Node, snippet: &str, user: &str) -> Result<Process> {
    let folder = node.folder();
    fs::create_dir_all(folder.join("temporary"))?;
    fs::write(folder.join("doorward.conf"), snippet)?;
    let settings = format!(
        "pid {folder}/nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path {folder}/temporary; proxy_temp_path {folder}/temporary;\n \
         fastcgi_temp_path {folder}/temporary; uwsgi_temp_path {folder}/temporary; scgi_temp_path {folder}/temporary;\n ssl_certificate {folder}/front.crt;\n \
         ssl_certificate_key {folder}/front.key;\n {site}\n}}\n",
        folder = folder.display(),
        site = if snippet.contains("server_name") {
            "include doorward.conf;".to_owned()
        } else {
            "server { listen 443 ssl; server_name gateway.example; include doorward.conf;\n \
             location / { return 410; } location ~ \\.css$ { return 410; } }"
                .to_owned()
        },
    );
    fs::write(folder.join("nginx.conf"), settings)?;
    let file = folder.join("nginx.conf");
    let nginx = Program::new("nginx").args(["-g", &format!("daemon off; user {user};"), "-c"]);
    let nginx = nginx.args([file]);
    begin(node, &nginx)
}

/// Caddy that makes its own certificates, with the printed parts.
fn start_caddy(node: &Node, snippet: &str, _user: &str) -> Result<Process> {
    let folder = node.folder();
    let site = if snippet.contains("*.gateway.example") {
        snippet.to_owned()
    } else {
        format!("gateway.example {{\n{snippet}\nrespond 410\n}}\n")
    };
    let global =
        format!("{{\n admin off\n local_certs\n skip_install_trust\n storage file_system {}\n}}\n", folder.display());
    let file = folder.join("Caddyfile");
    fs::write(&file, global + &site)?;
    let caddy = Program::new("caddy").args(["run", "--adapter", "caddyfile", "--config"]).args([file]);
    begin(node, &caddy.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder))
}

/// Apache with the modules that the printed parts name, and what every Debian has switched on.
fn start_apache(node: &Node, snippet: &str, user: &str) -> Result<Process> {
    let folder = node.folder();
    let told = snippet.lines().next().and_then(|line| line.split_once("a2enmod ")).context("the modules")?.1;
    let told = told.split([')', '.', ':']).next().unwrap_or_default().split_whitespace();
    // A site that is there already speaks TLS.
    let there = if snippet.contains("ServerAlias") { None } else { Some("ssl") };
    let modules = ["mpm_event", "authz_core", "alias"].into_iter().chain(there).chain(told);
    let modules: String =
        modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).collect();
    let site = if snippet.contains("ServerAlias") {
        snippet.to_owned()
    } else {
        format!(
            "<VirtualHost *:443>\nServerName gateway.example\nSSLEngine on\n{snippet}\nRedirect gone /elsewhere\n\
             </VirtualHost>\n"
        )
    };
    let settings = format!(
        "ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/apache.pid\nErrorLog /dev/stderr\n\
         {modules}User {user}\nGroup {user}\nServerName gateway.example\nListen 443\n\
         SSLCertificateFile {folder}/front.crt\nSSLCertificateKeyFile {folder}/front.key\n{site}",
        folder = folder.display(),
    );
    let file = folder.join("apache.conf");
    fs::write(&file, settings)?;
    begin(node, &Program::new("apache2").args(["-D", "FOREGROUND", "-f"]).args([file]))
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

type Begin = fn(&Node, &str, &str) -> Result<Process>;

fn served_behind(server: &str, start: Begin, place: &Place) -> Result<()> {
    let world = World::build(Shape::home().behind_carrier_nat())?;
    for host in ["zumi01", "own-zumi01"] {
        world.point(&format!("{host}.gateway.example"), &addresses::GATEWAY)?;
    }
    let behind = place.written(&world.gateway);
    let user = share(&world.gateway)?;
    let (gateway, folder) = (&world.gateway, tempfile::tempdir()?);
    front::make_certificate(gateway)?;
    fs::write(folder.path().join("gateway.toml"), "")?;
    fs::write(folder.path().join("agent.toml"), AGENT)?;
    let mut before = start(gateway, &printed(gateway, &[server], &behind)?, user)?;
    let serve = ["serve", "--config", "gateway.toml", "--data", "gateway", "--domain", "gateway.example", "--behind"];
    let mut serving = gateway.spawn(&doorward(folder.path(), &serve)?.args([&behind]))?;
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

    // What a visitor says of an address is nothing; what the web server says, is.
    let lie = "curl -sS -k -o /dev/null -w '%{http_code}' -H 'X-Forwarded-For: 192.0.2.66' https://own-zumi01.gateway.example/";
    ensure!(world.visitor.run(lie)?.ok()?.trim() == "401", "a visitor chose an address");

    // The same under one path of a site that has other things, too.
    before.stop(SOON)?;
    let _inside = start(gateway, &printed(gateway, &[server, "--path", "/zumi01/"], &behind)?, user)?;
    runs_a_kernel(&world.visitor, "https://gateway.example/zumi01/")?;
    until_served(&world.visitor, "https://gateway.example/elsewhere", 410)?;

    // Nothing else listens but SSH, which no web server passes on; and it leaves to the web server what is the web server's.
    let listening = gateway.run("ss -Hltnp")?.ok()?;
    let is_web = |line: &&str| line.contains("doorward") && !line.contains(":2222 ");
    let doors: Vec<_> = listening.lines().filter(is_web).collect();
    ensure!(doors.len() == place.tcp_doors(), "{doors:?}");
    ensure!(doors.iter().all(|line| line.contains("127.0.0.1:")), "{doors:?}");
    let curl = format!("curl -sS -o /dev/null -D - -H 'Host: gateway.example' {}", place.url(gateway));
    let hidden = gateway.run(&curl)?.ok()?;
    ensure!(!hidden.to_ascii_lowercase().contains("strict-transport-security"), "{hidden}");
    hidden.lines().next().context("an answer").map(drop)
}

#[test]
fn jupyter_and_the_link_pass_nginx_with_the_printed_settings() -> Result<()> {
    served_behind("nginx", start_nginx, &Place::Port)
}

#[test]
fn jupyter_and_the_link_pass_nginx_over_a_socket_that_its_group_may_open() -> Result<()> {
    served_behind("nginx", start_nginx, &Place::Socket)
}

#[test]
fn jupyter_and_the_link_pass_caddy_with_the_printed_settings() -> Result<()> {
    served_behind("caddy", start_caddy, &Place::Port)
}

#[test]
fn jupyter_and_the_link_pass_caddy_over_a_socket() -> Result<()> {
    served_behind("caddy", start_caddy, &Place::Socket)
}

#[test]
fn jupyter_and_the_link_pass_apache_with_the_printed_settings() -> Result<()> {
    served_behind("apache", start_apache, &Place::Port)
}

#[test]
fn jupyter_and_the_link_pass_apache_over_a_socket_that_its_group_may_open() -> Result<()> {
    served_behind("apache", start_apache, &Place::Socket)
}
