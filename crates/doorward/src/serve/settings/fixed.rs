//! What a running gateway cannot change: where it listens, and its built-in agent.

use super::{BuiltIn, File, Listen};
use std::net::SocketAddr;

#[derive(Clone, Debug)]
pub struct Fixed {
    /// As it was written.
    listen: Listen,
    built_in: Option<BuiltIn>,
    behind: Option<SocketAddr>,
    /// What came of it.
    https: Vec<SocketAddr>,
    quic: Vec<SocketAddr>,
}

impl Fixed {
    pub(super) fn new(
        listen: &Listen,
        behind: Option<SocketAddr>,
        built_in: Option<&BuiltIn>,
        https: Vec<SocketAddr>,
        quic: Vec<SocketAddr>,
    ) -> Self {
        Self { listen: listen.clone(), behind, built_in: built_in.cloned(), https, quic }
    }

    /// The file with all this as it runs; and the keys by which the file would have it otherwise.
    pub(crate) fn keep(&self, mut file: File) -> (File, Vec<&'static str>) {
        let (old, new) = (&self.listen, &file.listen);
        let differences = [
            ("listen.https", old.https != new.https),
            ("listen.http", old.http != new.http),
            ("listen.quic", old.quic != new.quic),
            ("listen.ports", old.ports != new.ports),
            ("listen.operations", old.operations != new.operations),
            ("behind", self.behind != file.behind),
            ("built-in", self.built_in != file.built_in),
        ];
        let kept = differences.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let public_port = new.public_port;
        file.listen = match self.behind {
            // It says so itself.
            Some(_) => Listen { https: None, quic: None, http: Vec::new(), public_port, ..old.clone() },
            None => {
                Listen { https: Some(self.https.clone()), quic: Some(self.quic.clone()), public_port, ..old.clone() }
            }
        };
        file.behind = self.behind;
        file.built_in.clone_from(&self.built_in);
        (file, kept)
    }
}
