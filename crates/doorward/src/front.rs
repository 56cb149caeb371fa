//! What a web server in front of the gateway must be told: to pass everything on unchanged and at once, WebSockets
//! too, and to say who the visitor is.

use crate::serve::settings::Behind;
use clap::ValueEnum;
use doorward_core::names::{HostName, PathPrefix};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WebServer {
    Nginx,
    Caddy,
    Apache,
}

pub struct Front {
    pub domain: HostName,
    /// Where it reaches the gateway.
    pub gateway: Behind,
    /// None: the domain and every name below it.
    pub paths: Vec<PathPrefix>,
}

/// Where links and our own pages are, on the domain itself.
const OWN_PATH: &str = "/.well-known/doorward/";

impl Front {
    pub fn settings(&self, server: WebServer) -> String {
        match (server, self.paths.is_empty()) {
            (WebServer::Nginx, true) => self.nginx_site(),
            (WebServer::Nginx, false) => self.nginx_paths(),
            (WebServer::Caddy, true) => self.caddy_site(),
            (WebServer::Caddy, false) => self.caddy_paths(),
            (WebServer::Apache, true) => self.apache_site(),
            (WebServer::Apache, false) => self.apache_paths(),
        }
    }

    fn with_own(&self) -> impl Iterator<Item = &str> {
        std::iter::once(OWN_PATH).chain(self.paths.iter().map(PathPrefix::as_str))
    }

    fn nginx_site(&self) -> String {
        let Self { domain, .. } = self;
        let location = self.nginx_location("/", "    ");
        format!(
            "# nginx: a file of its own, as /etc/nginx/conf.d/doorward.conf.\n\
             # ssl_certificate and ssl_certificate_key stand here or in http {{ }}; they cover both names.\n\
             server {{\n    listen 443 ssl;\n    listen [::]:443 ssl;\n    server_name {domain} *.{domain};\n{location}}}\n\
             server {{\n    listen 80;\n    listen [::]:80;\n    server_name {domain} *.{domain};\n    \
             return 301 https://$host$request_uri;\n}}\n"
        )
    }

    fn nginx_paths(&self) -> String {
        let locations: String = self.with_own().map(|path| self.nginx_location(path, "")).collect();
        format!("# nginx: into the server {{ }} of {} that listens on 443.\n{locations}", self.domain)
    }

    fn nginx_location(&self, path: &str, indent: &str) -> String {
        let gateway = match &self.gateway {
            Behind::Port(address) => format!("http://{address}"),
            Behind::Socket(path) => format!("http://unix:{}", path.display()),
        };
        let lines = [
            &format!("proxy_pass {gateway};"),
            "proxy_http_version 1.1;",
            "proxy_set_header Host $http_host;",
            "proxy_set_header X-Forwarded-For $remote_addr;",
            "proxy_set_header X-Forwarded-Proto $scheme;",
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection $http_connection;",
            "proxy_buffering off;",
            "proxy_request_buffering off;",
            "proxy_read_timeout 1h;",
            "proxy_send_timeout 1h;",
            "client_max_body_size 0;",
        ];
        let lines: String = lines.iter().map(|line| format!("{indent}    {line}\n")).collect();
        // ^~: no regular expression of the site around it takes a part away.
        let path = if path == "/" { path.to_owned() } else { format!("^~ {path}") };
        format!("{indent}location {path} {{\n{lines}{indent}}}\n")
    }

    fn caddy_site(&self) -> String {
        let (domain, gateway) = (&self.domain, self.caddy_upstream());
        format!(
            "# Caddy: a site of its own. For *.{domain} it needs a certificate by DNS (tls {{ dns ... }}), or one that \
             you have.\n{domain}, *.{domain} {{\n\treverse_proxy {gateway} {{\n\t\tflush_interval -1\n\t}}\n}}\n"
        )
    }

    fn caddy_paths(&self) -> String {
        let matcher: String = self.with_own().map(|path| format!(" {path}*")).collect();
        format!(
            "# Caddy: into the site of {}.\n@doorward path{matcher}\nhandle @doorward {{\n\treverse_proxy {} {{\n\t\t\
             flush_interval -1\n\t}}\n}}\n",
            self.domain,
            self.caddy_upstream()
        )
    }

    fn caddy_upstream(&self) -> String {
        match &self.gateway {
            Behind::Port(address) => address.to_string(),
            Behind::Socket(path) => format!("unix/{}", path.display()),
        }
    }

    fn apache_site(&self) -> String {
        let Self { domain, .. } = self;
        let pass = self.apache_pass("/");
        format!(
            "# Apache 2.4.47 or newer: a2enmod ssl proxy proxy_http headers.\n<VirtualHost *:443>\n    ServerName {domain}\n    \
             ServerAlias *.{domain}\n    SSLEngine on\n    # SSLCertificateFile and SSLCertificateKeyFile stand here; they \
             cover both names.\n{}{pass}</VirtualHost>\n",
            APACHE_HEADERS
        )
    }

    fn apache_paths(&self) -> String {
        let passes: String = self.with_own().map(|path| self.apache_pass(path)).collect();
        format!(
            "# Apache 2.4.47 or newer (a2enmod proxy proxy_http headers): into the <VirtualHost *:443> of {}.\n{}{passes}",
            self.domain, APACHE_HEADERS
        )
    }

    fn apache_pass(&self, path: &str) -> String {
        let gateway = match &self.gateway {
            Behind::Port(address) => format!("http://{address}"),
            Behind::Socket(socket) => format!("unix:{}|http://localhost", socket.display()),
        };
        format!("    ProxyPass \"{path}\" \"{gateway}{path}\" upgrade=websocket nocanon timeout=3600 flushpackets=on\n")
    }
}

/// mod_proxy_http appends the visitor's address to what is left of X-Forwarded-For: nothing.
const APACHE_HEADERS: &str = "    ProxyPreserveHost On\n    AllowEncodedSlashes NoDecode\n    \
                              RequestHeader unset X-Forwarded-For early\n    \
                              RequestHeader set X-Forwarded-Proto \"https\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_web_server_is_told_of_the_gateway_the_names_and_the_way_of_links() {
        for (gateway, written) in [("[::1]:8080", "[::1]:8080"), ("unix:/run/x.sock", "/run/x.sock")] {
            names_and_links_are_told(&Behind::parse(gateway).unwrap(), written);
        }
    }

    fn names_and_links_are_told(gateway: &Behind, written: &str) {
        let front = |paths: &[&str]| Front {
            domain: HostName::parse("example.org").unwrap(),
            gateway: gateway.clone(),
            paths: paths.iter().map(|path| PathPrefix::parse(path).unwrap()).collect(),
        };
        for server in WebServer::value_variants() {
            let site = front(&[]).settings(*server);
            assert!(site.contains(written) && site.contains("*.example.org"), "{site}");
            let paths = front(&["/zumi01/", "/zumi02/"]).settings(*server);
            for part in ["/zumi01/", "/zumi02/", OWN_PATH, written, "example.org"] {
                assert!(paths.contains(part), "{part}: {paths}");
            }
        }
    }
}
