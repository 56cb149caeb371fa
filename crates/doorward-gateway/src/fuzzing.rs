//! What fuzz targets need and nobody else: the internals that read a visitor's bytes.

use crate::certificates::Responder;
use crate::web::framing;

/// Follows the bytes of one visitor's connection.
#[derive(Default)]
pub struct Framing(framing::Framing);

impl Framing {
    /// How many of these bytes, all that were not let on yet, may be let on; or why nothing more may.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        self.0.scan(bytes).map_err(framing::Refusal::word)
    }

    /// The answer to a request that asked to switch protocols.
    pub fn answered(&mut self, switched: bool) {
        self.0.answered(switched);
    }

    pub fn requests(&self) -> u64 {
        self.0.requests()
    }
}

/// The name server for proofs, which strangers ask over UDP and TCP.
pub struct DnsResponder(Responder);

impl Default for DnsResponder {
    /// For `acme.gw.net`, with two proofs for `gw.net` under way.
    fn default() -> Self {
        let name = |name| doorward_core::names::HostName::parse(name).expect("a constant name");
        Self(Responder::proving(name("acme.gw.net"), name("ns.gw.net"), &name("gw.net.acme.gw.net")))
    }
}

impl DnsResponder {
    pub fn answer_udp(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.0.answer(query, Responder::MAX_UDP)
    }

    pub fn answer_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        self.0.answer(query, u16::MAX.into())
    }
}
