//! The pages about SSH, run as they are written, with the programs that they are about.

use anyhow::{Context, Result, ensure};
use doorward_peers::page::{Page, equip_gateway, equip_home, program};
use doorward_peers::{SOON, until_served};
use doorward_world::{Node, Process, Program, Shape, World, addresses, built, until};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Of the class that uses the robots.
const VISITOR: &str = "class-3b:a long enough password";
const GATEWAY_FILE: &str = "domain = \"example.org\"\n";

/// The machines of the pages: no agent anywhere, the devices behind a home's NAT and a carrier's.
fn world(names: &[&str]) -> Result<(World, Process)> {
    let world = World::build(Shape::home().behind_carrier_nat().with_second_device())?;
    world.point("example.org", &addresses::GATEWAY)?;
    for name in names {
        world.point(&format!("{name}.example.org"), &addresses::GATEWAY)?;
    }
    equip_gateway(&world.gateway)?;
    for node in [&world.device, world.second_device()?, &world.visitor, &world.other_visitor] {
        equip_home(node)?;
    }
    let folder = world.gateway.folder();
    fs::write(folder.join("gateway.toml"), GATEWAY_FILE)?;
    let serve = Program::new(built("doorward")?).args(["serve", "--config", "gateway.toml", "--data", "data"]);
    let mut gateway = world.gateway.spawn(&serve.in_folder(&folder))?;
    gateway.wait_for_line("Doorward serves", SOON)?;
    Ok((world, gateway))
}

/// A page on port 5000, and so on: what a device shows.
fn page_on(node: &Node, port: u16, says: &str) -> Result<Process> {
    let folder = node.folder().join(format!("page-{port}"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("index.html"), says)?;
    let mut server = node.spawn(
        &Program::new("/usr/bin/python3").args(["-u", "-m", "http.server"]).args([port.to_string()]).in_folder(folder),
    )?;
    server.wait_for_line("Serving HTTP", SOON)?;
    Ok(server)
}

fn echo_on(node: &Node, port: u16) -> Result<Process> {
    node.spawn(&Program::new("socat").args([format!("TCP-LISTEN:{port},fork,reuseaddr"), "EXEC:cat".to_owned()]))
}

/// A device's own sshd on port 22, which lets this key in.
fn sshd_on(node: &Node, authorized: &str) -> Result<Process> {
    let folder = node.folder();
    node.run(&format!("ssh-keygen -q -t ed25519 -N '' -f '{}/host'", folder.display()))?.ok()?;
    fs::write(folder.join("authorized"), authorized)?;
    // sshd separates privileges there.
    node.run("mkdir -p /run/sshd")?.ok()?;
    let settings = format!(
        "Port 22\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n\
         Subsystem sftp internal-sftp\n",
        folder.display()
    );
    fs::write(folder.join("sshd_config"), settings)?;
    let mut sshd =
        node.spawn(&Program::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).args([folder.join("sshd_config")]))?;
    sshd.wait_for_line("Server listening", SOON)?;
    Ok(sshd)
}

/// The line after the words "For ~/.ssh/known_hosts", and the fingerprint at the top.
fn host_key(said: &str) -> Result<(String, String)> {
    let line = said.lines().find(|line| line.starts_with("[example.org]:2222 ")).context("a line for known_hosts")?;
    let fingerprint = said.split_whitespace().find(|word| word.starts_with("SHA256:")).context("a fingerprint")?;
    Ok((line.to_owned(), fingerprint.to_owned()))
}

fn shows(visitor: &Node, url: &str, user: &str, text: &str) -> Result<()> {
    until(SOON, &format!("{url} shows {text:?}"), || {
        let got = visitor.run(&format!("curl -sSk --max-time 3 -u '{user}' {url}"))?;
        Ok(got.stdout.contains(text))
    })
    .map(drop)
}

fn echoes(visitor: &Node, port: u16) -> Result<()> {
    until(SOON, "the raw port echoes", || {
        let got = visitor.run(&format!("echo hello | socat -T2 - TCP:example.org:{port},connect-timeout=1"))?;
        Ok(got.stdout == "hello\n")
    })
    .map(drop)
}

/// This machine's account in place of `pi`, which is not everywhere.
fn account() -> Result<String> {
    let output = std::process::Command::new("id").arg("-un").stderr(Stdio::null()).output()?;
    Ok(format!("{}@", String::from_utf8(output.stdout)?.trim()))
}

/// What somebody gave somebody: a file of one machine's home.
fn public_key(node: &Node, name: &str) -> Result<String> {
    Ok(fs::read_to_string(node.folder().join("home/.ssh").join(name))?)
}

fn make_key(node: &Node, path: &str) -> Result<()> {
    node.run_program(&program(node, &format!("mkdir -p ~/.ssh; ssh-keygen -q -t ed25519 -N '' -f {path}")), SOON)?
        .ok()
        .map(drop)
}

#[test]
fn a_device_without_an_agent_is_set_up_as_its_page_says() -> Result<()> {
    let names = ["printer1", "router1", "shop", "zumi01"];
    let (world, _gateway) = world(&names)?;
    let (gateway, device, visitor) = (&world.gateway, &world.device, &world.visitor);
    let _shown = page_on(device, 5000, "the printer")?;
    let _echo = echo_on(device, 7001)?;
    let mut page = Page::read("without-an-agent.md")?;

    let invite = page.run("sh gateway", gateway)?;
    page.means("INVITE", invite.trim())?;
    page.run("sh device", device)?;
    let (line, fingerprint) = host_key(&page.run("sh gateway", gateway)?)?;
    page.means("[example.org]:2222 ssh-ed25519 AAAA…", &line)?;
    page.run("sh device", device)?;
    let joined = page.run("sh device", device)?;
    ensure!(joined.contains("device \"zumi01\""), "{joined}");

    let mut offering = page.start("sh device stays", device)?;
    offering.wait_for_line("https://printer1.example.org/", SOON)?;
    let password = "echo 'a long enough password' | ";
    let set = format!("{password}{}", page.next("sh gateway")?);
    gateway.run_program(&program(gateway, &set), SOON)?.ok()?;
    shows(visitor, "https://printer1.example.org/", "anna:a long enough password", "the printer")?;
    until_served(visitor, "https://printer1.example.org/", 401)?;
    offering.wait_for_line("printer1: a visit", SOON)?;

    let refused = page.run("sh device", device)?;
    let allow = page.next("sh gateway")?;
    let said = allow.strip_prefix("sudo ").context("as root")?;
    ensure!(refused.contains(said), "the refusal says {said:?}: {refused}");
    gateway.run_program(&program(gateway, &allow), SOON)?.ok()?;
    let raw = page.start("sh device stays", device)?;
    echoes(visitor, 20007)?;
    for mut ended in [offering, raw] {
        ended.kill()?;
    }

    unit_keeps_the_page_up(&mut page, &world)?;
    page.run("sh device", device)?;
    shows(visitor, "https://printer1.example.org/", "anna:a long enough password", "the printer")?;
    dropbear_does_the_same(&mut page, &world, &line)?;
    plink_does_the_same(&mut page, &world, &fingerprint)?;
    a_person_gets_in(&mut page, &world, &line)?;
    page.finish()
}

/// An invite of the same kind as the page's, for another machine than the one that used that.
fn another_invite(gateway: &Node, name: &str) -> Result<String> {
    let invite = program(gateway, &format!("sudo doorward invite --name {name}"));
    Ok(gateway.run_program(&invite, SOON)?.ok()?.trim().to_owned())
}

fn unit_keeps_the_page_up(page: &mut Page, world: &World) -> Result<()> {
    let (device, unit) = (&world.device, page.next("ini")?);
    let file = device.folder().join("zumi01.service");
    fs::write(&file, &unit)?;
    device.run(&format!("systemd-analyze verify '{}'", file.display()))?.ok()?;
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("what is started")?;
    let mut started = device.spawn(&program(device, &format!("exec {line}")))?;
    shows(&world.visitor, "https://printer1.example.org/", "anna:a long enough password", "the printer")?;
    started.kill()
}

fn dropbear_does_the_same(page: &mut Page, world: &World, line: &str) -> Result<()> {
    let (gateway, router) = (&world.gateway, world.second_device()?);
    let _shown = page_on(router, 80, "the router")?;
    let key = line.strip_prefix("[example.org]:2222 ").context("a key")?;
    page.means("ssh-ed25519 AAAA…", key)?;
    page.means("INVITE", &another_invite(gateway, "router1")?)?;
    let joined = page.run("sh router", router)?;
    ensure!(joined.contains("device \"router1\""), "{joined}");
    let mut offering = page.start("sh router stays", router)?;
    let allow = "sudo doorward access router1/router1 set --public";
    until(SOON, "the router's page can be allowed", || {
        Ok(gateway.run_program(&program(gateway, allow), SOON)?.succeeded())
    })?;
    shows(&world.visitor, "https://router1.example.org/", "", "the router")?;
    offering.kill()?;

    // What procd would be told.
    let script = router.folder().join("doorward");
    fs::write(&script, page.next("sh")?)?;
    let procd = "procd_open_instance() { :; }; procd_close_instance() { :; }; procd_set_param() { \
                 case $1 in command) shift; echo \"$@\";; esac; }";
    let told = router.run(&format!("{procd}; . '{}'; start_service", script.display()))?.ok()?;
    let started = router.spawn(&program(router, &format!("exec {told}")))?;
    shows(&world.visitor, "https://router1.example.org/", "", "the router")?;
    drop(started);
    Ok(())
}

fn plink_does_the_same(page: &mut Page, world: &World, fingerprint: &str) -> Result<()> {
    let (gateway, windows) = (&world.gateway, &world.other_visitor);
    let _shown = page_on(windows, 5000, "the shop")?;
    windows
        .run_program(&program(windows, "puttygen -t ed25519 --new-passphrase /dev/null -o zumi01.ppk"), SOON)?
        .ok()?;
    page.means("SHA256:…", fingerprint)?;
    page.means("INVITE", &another_invite(gateway, "shop")?)?;
    let joined = page.run("sh windows", windows)?;
    ensure!(joined.contains("device \"shop\""), "{joined}");
    let offering = page.start("sh windows stays", windows)?;
    let allow = "sudo doorward access shop/shop set --public";
    until(SOON, "the shop can be allowed", || Ok(gateway.run_program(&program(gateway, allow), SOON)?.succeeded()))?;
    shows(&world.visitor, "https://shop.example.org/", "", "the shop")?;
    drop(offering);
    Ok(())
}

fn a_person_gets_in(page: &mut Page, world: &World, line: &str) -> Result<()> {
    let (gateway, device, visitor) = (&world.gateway, &world.device, &world.visitor);
    make_key(visitor, "~/.ssh/id_ed25519")?;
    let anna = public_key(visitor, "id_ed25519.pub")?;
    fs::write(gateway.folder().join("id_ed25519.pub"), &anna)?;
    page.run("sh gateway", gateway)?;
    let _sshd = sshd_on(device, &anna)?;
    let _offering = page.start("sh device stays", device)?;
    let allow = page.next("sh gateway")?;
    until(SOON, "the shell can be allowed", || Ok(gateway.run_program(&program(gateway, &allow), SOON)?.succeeded()))?;

    let home = visitor.folder().join("home/.ssh");
    fs::write(home.join("config"), page.next("")?)?;
    fs::write(home.join("known_hosts"), format!("{line}\n"))?;
    page.means("pi@", &account()?)?;
    let said = page.run("sh visitor", visitor)?;
    ensure!(said.contains("You are anna.") && said.contains("zumi01/ssh") && said.contains("load average"), "{said}");
    ensure!(fs::read(visitor.folder().join("from-zumi01"))? == fs::read("/etc/hostname")?, "the file is another");
    let _tunnel = page.start("sh visitor stays", visitor)?;
    until(SOON, "the device's sshd answers on the visitor's own port", || {
        Ok(visitor.run("socat -T1 - TCP:127.0.0.1:2200 < /dev/null")?.stdout.starts_with("SSH-2.0-OpenSSH"))
    })
    .map(drop)
}

/// As the page shows the configuration.
fn start_jupyter(node: &Node, config: &str) -> Result<Process> {
    let home = node.folder().join("jupyter");
    fs::create_dir_all(&home)?;
    fs::write(home.join("jupyter_notebook_config.py"), config)?;
    let program = Program::new("jupyter-notebook").args(["--allow-root", "--config"]);
    let program = program.args([home.join("jupyter_notebook_config.py")]).in_folder(&home).env("HOME", &home);
    let mut jupyter = node.spawn(&program.env("JUPYTER_RUNTIME_DIR", home.join("runtime")))?;
    jupyter.wait_for_line("is running at", SOON)?;
    Ok(jupyter)
}

/// Runs code in a kernel as a browser would.
fn kernel(visitor: &Node, arguments: &[&str]) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/kernel.py");
    let program = Program::new("/usr/bin/python3").args([&script]).args(arguments).env("VISITOR", VISITOR);
    Ok(visitor.run_program(&program, SOON)?.ok()?.trim().to_owned())
}

#[test]
fn old_robots_with_jupyter_are_set_up_as_their_page_says() -> Result<()> {
    let (world, _gateway) = world(&["zumi01", "zumi02", "zumi30"])?;
    let (gateway, visitor) = (&world.gateway, &world.visitor);
    let robots = [&world.device, world.second_device()?];
    let mut page = Page::read("old-robots.md")?;

    // What the old server knew: an account for each robot, with its key.
    for (robot, name) in robots.iter().zip(["zumi01", "zumi02"]) {
        make_key(robot, "~/.ssh/zumi01")?;
        let account = gateway.folder().join("home").join(name).join(".ssh");
        fs::create_dir_all(&account)?;
        fs::write(account.join("authorized_keys"), public_key(robot, "zumi01.pub")?)?;
    }
    page.run("sh gateway", gateway)?;
    let (line, _) = host_key(&page.run("sh gateway", gateway)?)?;
    page.means("[example.org]:2222 ssh-ed25519 AAAA…", &line)?;
    let known = page.next("sh every robot")?;
    // One that the old server did not know.
    let new = &world.other_visitor;
    for robot in robots.into_iter().chain([new]) {
        robot.run_program(&program(robot, &format!("mkdir -p ~/.ssh; {known}")), SOON)?.ok()?;
    }
    let invite = page.run("sh gateway", gateway)?;
    page.means("INVITE", invite.trim())?;
    page.means("$(hostname)", "zumi30")?;
    let joined = page.run("sh new robot", new)?;
    ensure!(joined.contains("device \"zumi30\""), "{joined}");

    let line = page.next("sh robot stays")?;
    let first: Vec<Process> =
        robots.iter().map(|robot| robot.spawn(&program(robot, &format!("exec {line}")))).collect::<Result<_>>()?;
    let looping = page.next("sh robot")?;
    let config = page.next("python")?;
    let _jupyters: Vec<Process> = robots.iter().map(|robot| start_jupyter(robot, &config)).collect::<Result<_>>()?;
    fs::write(gateway.folder().join("password"), "a long enough password\n")?;
    let allow = page.next("sh gateway")?;
    until(SOON, "both robots are there", || Ok(gateway.run_program(&program(gateway, &allow), SOON)?.succeeded()))?;
    let url = |robot: &str| format!("https://{robot}.example.org/");
    let mut kernels = Vec::new();
    for robot in ["zumi01", "zumi02"] {
        until_served(visitor, &format!("https://{robot}.example.org/tree"), 401)?;
        shows(visitor, &format!("{}tree", url(robot)), VISITOR, "jupyter")?;
        let id = kernel(visitor, &["start", &url(robot)])?;
        ensure!(kernel(visitor, &["run", &url(robot), &id, "x = 41; print(x + 1)"])? == "42", "{robot}");
        kernels.push(id);
    }

    make_key(visitor, "~/.ssh/id_ed25519")?;
    let anna = public_key(visitor, "id_ed25519.pub")?;
    fs::write(gateway.folder().join("id_ed25519.pub"), &anna)?;
    page.run("sh gateway", gateway)?;
    let _sshd = sshd_on(&world.device, &anna)?;
    let known = visitor.folder().join("home/.ssh/known_hosts");
    fs::write(known, format!("{}\n", page_line(gateway)?))?;
    page.means("pi@", &account()?)?;
    page.run("sh visitor", visitor)?;
    ensure!(fs::read(visitor.folder().join("from-zumi01"))? == fs::read("/etc/hostname")?, "the file is another");
    let said = page.run("sh gateway", gateway)?;
    ensure!(said.contains("zumi01") && said.contains("zumi02/web"), "{said}");

    // The line ends, as when the Wi-Fi is lost; the loop of rc.local brings the robot back, and its kernel is as it was.
    for mut ended in first {
        ended.kill()?;
    }
    world.device.run_program(&program(&world.device, &looping), SOON)?.ok()?;
    shows(visitor, &format!("{}tree", url("zumi01")), VISITOR, "jupyter")?;
    let said = kernel(visitor, &["run", &url("zumi01"), &kernels[0], "print(x + 2)"])?;
    ensure!(said == "43", "the kernel said {said:?}");
    page.finish()
}

fn page_line(gateway: &Node) -> Result<String> {
    let said = gateway.run_program(&program(gateway, "sudo doorward ssh-host-key"), SOON)?.ok()?;
    Ok(host_key(&said)?.0)
}
