//! What fuzz targets need and nobody else: the internals that read a visitor's bytes.

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
