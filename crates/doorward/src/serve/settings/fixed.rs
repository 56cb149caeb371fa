//! What a running gateway cannot change: where it listens, how it orders certificates, and its built-in agent.

use super::certificates::CertificatesFile;
use super::{BuiltIn, File, Listen};
use std::net::SocketAddr;

#[derive(Clone, Debug)]
pub struct Fixed {
    /// As it was written.
    listen: Listen,
    certificates: CertificatesFile,
    built_in: Option<BuiltIn>,
    /// What came of it.
    https: Vec<SocketAddr>,
    quic: Vec<SocketAddr>,
    redirect: Vec<SocketAddr>,
}

impl Fixed {
    pub(super) fn new(file: &File, https: Vec<SocketAddr>, quic: Vec<SocketAddr>, redirect: Vec<SocketAddr>) -> Self {
        let (listen, certificates) = (file.listen.clone(), file.certificates.clone());
        Self { listen, certificates, built_in: file.built_in.clone(), https, quic, redirect }
    }

    /// The file with all this as it runs; and the keys by which the file would have it otherwise.
    pub(crate) fn keep(&self, mut file: File) -> (File, Vec<&'static str>) {
        let (old, new) = (&self.listen, &file.listen);
        let differences = [
            ("listen.https", old.https != new.https),
            ("listen.http", old.http != new.http),
            ("listen.quic", old.quic != new.quic),
            ("listen.redirect", old.redirect != new.redirect),
            ("listen.ports", old.ports != new.ports),
            ("listen.operations", old.operations != new.operations),
            ("certificates", self.certificates != file.certificates),
            ("built-in", self.built_in != file.built_in),
        ];
        let kept = differences.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        file.listen = Listen {
            https: Some(self.https.clone()),
            quic: Some(self.quic.clone()),
            redirect: Some(self.redirect.clone()),
            public_port: new.public_port,
            ..old.clone()
        };
        file.certificates.clone_from(&self.certificates);
        file.built_in.clone_from(&self.built_in);
        (file, kept)
    }
}
