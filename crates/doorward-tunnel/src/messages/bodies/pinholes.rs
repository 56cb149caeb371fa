//! Openings in the router of a device's home, each for one session: what a gateway wishes, and what the router said of it. Where
//! a service is inside only its agent knows.

/// Gateway → agent: all pinholes that there shall be, said again at each change and now and then. Whichever is not in it shall
/// be closed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PinholesWished {
    #[prost(message, repeated, tag = "1")]
    pub pinholes: Vec<PinholeWish>,
    /// From where the gateway sees this link come now.
    #[prost(string, optional, tag = "2")]
    pub seen_from: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PinholeWish {
    /// Names the session, as `doorward_core::pinhole::PinholeId`.
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub service: String,
    /// From where its person comes: IPv4 addresses, and of IPv6 networks (/64) the first address.
    #[prost(string, repeated, tag = "3")]
    pub sources: Vec<String>,
    /// What is left of the session.
    #[prost(uint64, tag = "4")]
    pub remaining_ms: u64,
}

/// Agent → gateway: what became of all that it wished.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PinholesSeen {
    #[prost(message, repeated, tag = "1")]
    pub pinholes: Vec<PinholeSeen>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PinholeSeen {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(enumeration = "PinholeState", tag = "2")]
    pub state: i32,
    /// Of a machine that has an address of its own in public; absent: the address of its home.
    #[prost(string, optional, tag = "3")]
    pub host: Option<String>,
    #[prost(uint32, tag = "4")]
    pub port: u32,
    /// Why it is not open; for people.
    #[prost(string, optional, tag = "5")]
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PinholeState {
    Unspecified = 0,
    /// Open; nobody has come yet.
    Ready = 1,
    /// Somebody came in, and was answered.
    Passed = 2,
    Closed = 3,
    /// A port mapping: the router says that it is open, and whoever is outside has to try it.
    Untried = 4,
}

/// Gateway → agent: a connection from outside is about to come for this pinhole that begins with `preface`, and is to be
/// answered ([`Probe`](crate::Probe)).
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct PinholeProbe {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub preface: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
}

impl std::fmt::Debug for PinholeProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinholeProbe").field("id", &self.id).finish_non_exhaustive()
    }
}
