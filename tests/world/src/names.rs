//! What names mean to one node: its own /etc/hosts and /etc/resolv.conf, bind-mounted over the machine's.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;

/// Nobody listens there, so that a name unknown to the hosts file fails at once.
const NO_RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

#[derive(Debug)]
pub(crate) struct Names {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    known: Mutex<Vec<(String, Vec<IpAddr>)>>,
}

impl Names {
    pub(crate) fn write_in(folder: &Path) -> Result<Names> {
        fs::create_dir_all(folder)?;
        let names = Names {
            hosts: folder.join("hosts"),
            resolv_conf: folder.join("resolv.conf"),
            known: Mutex::new(Vec::new()),
        };
        fs::write(&names.resolv_conf, NO_RESOLVER)?;
        names.rewrite(&[])?;
        Ok(names)
    }

    /// Shell commands that mount both files; run inside the node's own mount namespace.
    pub(crate) fn mount_script(&self) -> String {
        let hosts = self.hosts.display();
        let resolv_conf = self.resolv_conf.display();
        format!("mount --bind '{hosts}' /etc/hosts; mount --bind '{resolv_conf}' /etc/resolv.conf")
    }

    /// From now on `name` means `addresses`; none at all means it is unknown.
    pub(crate) fn point(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let mut known = self.known.lock().expect("no writer panics");
        known.retain(|(other, _)| other != name);
        known.push((name.to_owned(), addresses.to_vec()));
        self.rewrite(&known)
    }

    /// Asks this name server about names the hosts file does not know.
    pub(crate) fn ask(&self, server: IpAddr) -> Result<()> {
        Ok(fs::write(&self.resolv_conf, format!("nameserver {server}\noptions timeout:1 attempts:1\n"))?)
    }

    /// Writes in place: a file renamed over this one would not show through the bind mount.
    fn rewrite(&self, known: &[(String, Vec<IpAddr>)]) -> Result<()> {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (name, addresses) in known {
            addresses.iter().for_each(|address| text.push_str(&format!("{address} {name}\n")));
        }
        Ok(fs::write(&self.hosts, text)?)
    }
}
