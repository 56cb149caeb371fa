//! BIND on another machine of the internet, with a zone that takes updates for one name.

use std::fs;
use std::net::IpAddr;

use anyhow::Result;
use doorward_world::{Node, Process, Program};

use crate::talk::SOON;

/// What is kept.
pub(crate) const NAME: &str = "home.example.org";
/// The key for it, in base64.
pub(crate) const KEY: &str = "dGhpcnR5LXR3byBieXRlcyBmb3IgVFNJRywgbm8gbGVzcw==";

const ZONE: &str = "$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.53
";

pub(crate) struct Named {
    _process: Process,
    server: IpAddr,
}

impl Named {
    pub(crate) fn start(node: &Node) -> Result<Named> {
        let (folder, server) = (node.folder(), node.ip()?);
        let settings = format!(
            "options {{ directory \"{place}\"; pid-file none; session-keyfile none; lock-file none; recursion no; \
             dnssec-validation no; listen-on {{ {server}; }}; listen-on-v6 {{ none; }}; }};\ncontrols {{ }};\n\
             key \"home\" {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\n\
             zone \"example.org\" {{ type primary; file \"zone\"; update-policy {{ grant home name {NAME}. A AAAA; }}; }};\n",
            place = folder.display(),
        );
        fs::write(folder.join("named.conf"), settings)?;
        fs::write(folder.join("zone"), ZONE)?;
        let program = Program::new("/usr/sbin/named").args(["-g", "-c"]).args([folder.join("named.conf")]);
        let mut process = node.spawn(&program)?;
        process.wait_for_line("all zones loaded", SOON)?;
        Ok(Named { _process: process, server })
    }

    /// The address that the name has for this machine, if it has one.
    pub(crate) fn look_up(&self, node: &Node) -> Result<Option<String>> {
        node.ask_names_of(self.server)?;
        let found = node.run(&format!("getent ahostsv4 {NAME}"))?;
        Ok(found.stdout.split_whitespace().next().map(str::to_owned))
    }
}
