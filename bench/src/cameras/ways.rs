//! The ways to one camera: Doorward's two, and what people use today.

use super::{FAN_OUT, FILMED};
use crate::process::Running;
use crate::site::{Identity, Machine, Site, Tunnel};
use crate::subjects::{Subject, find};
use anyhow::{Context, Result, bail};
use doorward_world::{World, addresses};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const TO_START: Duration = Duration::from_secs(20);

/// Where visitors come, and the host that they name.
pub(super) struct Way {
    pub(super) name: String,
    pub(super) at: SocketAddr,
    pub(super) host: String,
    /// What runs for it, until it is over.
    _tunnel: Option<Tunnel>,
    _front: Option<Running>,
}

impl Way {
    fn new(name: &str, at: SocketAddr) -> Self {
        Self { name: name.to_owned(), at, host: at.to_string(), _tunnel: None, _front: None }
    }

    fn of_doorward(name: &str, gateway_ip: Ipv4Addr, service: &str) -> Self {
        Self { host: format!("{service}-zumi.gateway.example"), ..Self::new(name, (gateway_ip, 80).into()) }
    }
}

/// The camera by Doorward comes first, and without any tunnel last.
pub(super) async fn start(world: &World, subjects: &[Subject], folder: &Path) -> Result<Vec<Way>> {
    let IpAddr::V4(gateway_ip) = addresses::GATEWAY[0] else { bail!("the gateway has no IPv4") };
    let filmed: SocketAddr = FILMED.parse()?;
    let site = Site {
        gateway: Machine::Node(world.gateway.clone()),
        gateway_ip,
        device: Machine::Node(world.device.clone()),
        target: (Ipv4Addr::LOCALHOST, filmed.port()).into(),
        folder: folder.to_owned(),
        identity: Identity::make(folder)?,
    };
    let mut ways = vec![
        Way::of_doorward("doorward, as a camera", gateway_ip, "camera"),
        Way::of_doorward("doorward, copied", gateway_ip, "copied"),
    ];
    for subject in subjects.iter().filter(|subject| !matches!(subject, Subject::Doorward(_))) {
        let tunnel = subject.start(&site).await.with_context(|| subject.name())?;
        let entrance = tunnel.entrance;
        ways.push(Way { _tunnel: Some(tunnel), ..Way::new(subject.description(), entrance) });
        if let Subject::Ssh(..) = subject {
            ways.extend(in_front(&site, entrance).await?);
        }
    }
    let port = filmed.port();
    world.home_router.forward_tcp_port(port, addresses::DEVICE[0], port)?.stays();
    ways.push(Way::new("direct", (addresses::HOME[0], port).into()));
    Ok(ways)
}

/// What people put before a tunnel's port.
async fn in_front(site: &Site, tunnel: SocketAddr) -> Result<Vec<Way>> {
    let mut ways = vec![fan_out(site, tunnel).await?];
    match find("nginx") {
        Some(nginx) => {
            for (name, setting) in [("nginx before it", ""), ("nginx, `proxy_buffering off`", "proxy_buffering off;")] {
                ways.push(front(site, &nginx, name, setting, tunnel)?);
            }
        }
        None => eprintln!("nginx is left out, because it is not installed. To get it: apt-get install nginx-light"),
    }
    Ok(ways)
}

async fn fan_out(site: &Site, tunnel: SocketAddr) -> Result<Way> {
    let entrance = site.free()?;
    let mut command = site.gateway.command(std::env::current_exe()?)?;
    command.args([FAN_OUT, &entrance.to_string(), &tunnel.to_string()]);
    let mut program = Running::start(FAN_OUT, command, &site.folder)?;
    program.wait_for("ready", TO_START).await?;
    Ok(Way { _front: Some(program), ..Way::new("one copy, a queue for each viewer", entrance) })
}

fn front(site: &Site, nginx: &Path, name: &str, setting: &str, tunnel: SocketAddr) -> Result<Way> {
    let entrance = site.free()?;
    let folder = site.make_folder(&format!("nginx-{}", entrance.port()))?;
    let place = folder.display();
    let settings = format!(
        "pid {place}/nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n access_log off;\n \
         client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};\n \
         uwsgi_temp_path {place}; scgi_temp_path {place};\n server {{\n listen {entrance};\n location / {{\n \
         proxy_pass http://{tunnel};\n proxy_http_version 1.1;\n {setting}\n }}\n }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, settings)?;
    let mut command = site.gateway.command(nginx)?;
    command.args(["-g", "daemon off; user root;", "-c"]).arg(file);
    Ok(Way { _front: Some(Running::start("nginx", command, &folder)?), ..Way::new(name, entrance) })
}
