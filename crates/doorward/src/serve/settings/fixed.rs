//! What a running gateway cannot change: where it listens, how it orders certificates, its built-in agent, and what it
//! asks of the router at home and of name servers.

use super::certificates::CertificatesFile;
use super::{Behind, BuiltIn, DynamicDnsFile, File, Listen, PortMappingFile};
use std::net::SocketAddr;

/// Those keys as the file has them.
#[derive(Clone, Debug)]
pub(super) struct Written {
    listen: Listen,
    certificates: CertificatesFile,
    built_in: Option<BuiltIn>,
    behind: Option<Behind>,
    port_mapping: Option<PortMappingFile>,
    dynamic_dns: Vec<DynamicDnsFile>,
}

#[derive(Clone, Debug)]
pub struct Fixed {
    written: Written,
    /// What came of it.
    https: Vec<SocketAddr>,
    quic: Vec<SocketAddr>,
    redirect: Vec<SocketAddr>,
    ssh: Vec<SocketAddr>,
}

impl Written {
    pub(super) fn of(file: &File) -> Self {
        Self {
            listen: file.listen.clone(),
            certificates: file.certificates.clone(),
            built_in: file.built_in.clone(),
            behind: file.behind.clone(),
            port_mapping: file.port_mapping.clone(),
            dynamic_dns: file.dynamic_dns.clone(),
        }
    }
}

impl Fixed {
    pub(super) fn new(
        written: Written,
        https: Vec<SocketAddr>,
        quic: Vec<SocketAddr>,
        redirect: Vec<SocketAddr>,
        ssh: Vec<SocketAddr>,
    ) -> Self {
        Self { written, https, quic, redirect, ssh }
    }

    /// The file with all this as it runs; and the keys by which the file would have it otherwise.
    pub(crate) fn keep(&self, mut file: File) -> (File, Vec<&'static str>) {
        let Written { listen: old, certificates, built_in, behind, port_mapping, dynamic_dns } = &self.written;
        let new = &file.listen;
        let differences = [
            ("listen.https", old.https != new.https),
            ("listen.http", old.http != new.http),
            ("listen.quic", old.quic != new.quic),
            ("listen.ssh", old.ssh != new.ssh),
            ("listen.knock", old.knock != new.knock),
            ("listen.redirect", old.redirect != new.redirect),
            ("listen.ports", old.ports != new.ports),
            ("listen.operations", old.operations != new.operations),
            ("certificates", *certificates != file.certificates),
            ("behind", *behind != file.behind),
            ("built-in", *built_in != file.built_in),
            ("port-mapping", *port_mapping != file.port_mapping),
            ("dynamic-dns", *dynamic_dns != file.dynamic_dns),
        ];
        let kept = differences.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let public_port = new.public_port;
        file.listen = match behind {
            // It says where to listen itself.
            Some(_) => Listen { public_port, ssh: Some(self.ssh.clone()), ..old.clone() },
            None => Listen {
                https: Some(self.https.clone()),
                quic: Some(self.quic.clone()),
                redirect: Some(self.redirect.clone()),
                ssh: Some(self.ssh.clone()),
                public_port,
                ..old.clone()
            },
        };
        file.behind.clone_from(behind);
        file.certificates.clone_from(certificates);
        file.built_in.clone_from(built_in);
        file.port_mapping.clone_from(port_mapping);
        file.dynamic_dns.clone_from(dynamic_dns);
        (file, kept)
    }
}
