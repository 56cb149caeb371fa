//! A web server of others that holds the public ports, with the gateway behind it: what many have running already.

use std::fs;

use anyhow::Result;

use crate::node::Node;
use crate::process::Process;
use crate::program::Program;
use crate::site::SOON;
use crate::wait::until;

/// The gateway behind it: plain HTTP on loopback, links as WebSockets on the web server's own URL.
pub const GATEWAY_FILE: &str = r#"
domain = "gateway.example"
addresses = ["wss://gateway.example"]
proxies = ["127.0.0.1"]
[listen]
http = ["127.0.0.1:8080"]
https = ["127.0.0.1:8443"]
quic = []
public-port = 443
"#;

/// Starts nginx on port 443 of the node, with the settings that its users know.
pub fn nginx(node: &Node) -> Result<Process> {
    let folder = node.folder();
    let folder = folder.display();
    let settings = format!(
        r#"
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 443 ssl;
        server_name gateway.example *.gateway.example;
        ssl_certificate {folder}/front.crt;
        ssl_certificate_key {folder}/front.key;
        location / {{
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 1h;
        }}
    }}
}}
"#
    );
    let file = node.folder().join("nginx.conf");
    fs::write(&file, settings)?;
    let nginx = Program::new("nginx").args(["-g", "daemon off; user root;", "-c"]).args([file]);
    start(node, &nginx)
}

/// Starts Caddy on port 443 of the node.
pub fn caddy(node: &Node) -> Result<Process> {
    let folder = node.folder();
    let settings = format!(
        "{{\n admin off\n auto_https off\n storage file_system {folder}\n}}\n\
         https://gateway.example:443, https://*.gateway.example:443 {{\n tls {folder}/front.crt {folder}/front.key\n \
         reverse_proxy 127.0.0.1:8080\n}}\n",
        folder = folder.display()
    );
    let file = folder.join("Caddyfile");
    fs::write(&file, settings)?;
    let caddy = Program::new("caddy").args(["run", "--adapter", "caddyfile", "--config"]).args([file]);
    let caddy = caddy.env("HOME", &folder).env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
    start(node, &caddy)
}

fn start(node: &Node, front: &Program) -> Result<Process> {
    make_certificate(node)?;
    let front = node.spawn(front)?;
    wait_for_port(node, 443)?;
    Ok(front)
}

pub fn wait_for_port(node: &Node, port: u16) -> Result<()> {
    until(SOON, "the port is open", || Ok(!node.run(&format!("ss -Hltn sport = :{port}"))?.ok()?.is_empty())).map(drop)
}

/// A certificate nobody vouches for, as front.crt and front.key; agents must not care.
pub fn make_certificate(node: &Node) -> Result<()> {
    let folder = node.folder();
    node.run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway.example \
         -addext 'subjectAltName=DNS:gateway.example,DNS:*.gateway.example' -keyout {folder}/front.key \
         -out {folder}/front.crt",
        folder = folder.display()
    ))?
    .ok()
    .map(drop)
}
