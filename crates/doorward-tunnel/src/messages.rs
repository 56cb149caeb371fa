//! What gateway and agent say to each other. Protocol Buffers inside frames: unknown fields are skipped, unknown
//! kinds decode to [`Message::Other`] and are answered "unsupported", so that one release older and newer works both
//! ways. The bytes are pinned by golden tests; a tag is never used again for another meaning.

mod bodies;
mod errands;

pub use bodies::additions::{AdditionRefusal, Additions, AdditionsReport, Finding, Findings};
pub use bodies::pinholes::{PinholeProbe, PinholeSeen, PinholeState, PinholeWish, PinholesSeen, PinholesWished};
pub use bodies::{
    CheckPorts, Goodbye, Hello, Hop, Join, LaneHello, LanesWanted, Leaving, Open, OpenFailed, Phase, PortChecked,
    PortsChecked, Preparation, Preparations, Refusal, Refused, ServiceReport, ServiceSpending, Services,
    ServicesReport, Site, SiteStored, Spending, Unsupported, Welcome, Wish, Wishes,
};
pub use errands::{ErrandDone, LogWanted, RestartWanted};

use crate::wire::{Frame, WireError, frame};
use bytes::Bytes;
use prost::Message as _;

/// What this build can do, as one number with a history:
/// 1 (2026-11): the first.
/// 2 (2026-11): an open may name a mount of a service.
/// 3 (2026-11): a gateway wishes services ready, and an agent tells how far they are.
/// 4 (2026-11): cameras, whose streams carry frames; pinholes in the device's own router.
pub const CAPABILITY: u32 = 4;
/// From here on an agent knows mounts. An older one would take the visitor to the service itself.
pub(crate) const KNOWS_MOUNTS: u32 = 2;
/// From here on gateways take offers that say they need preparing, and agents take wishes.
pub const KNOWS_WISHES: u32 = 3;
/// From here on agents take wishes for pinholes.
pub(crate) const KNOWS_PINHOLES: u32 = 4;

/// The application protocol (ALPN, RFC 7301) of a link.
pub const ALPN: &[u8] = b"doorward/1";

macro_rules! messages {
    ($($kind:literal $name:ident $(: $body:ident)?),+ $(,)?) => {
        /// Everything that travels on a control stream or opens a visit.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $($name $(($body))?,)+
            /// From a newer peer.
            Other(u8),
        }

        impl Message {
            pub fn kind(&self) -> u8 {
                match self {
                    $(messages!(@pattern $name $($body)?) => $kind,)+
                    Self::Other(kind) => *kind,
                }
            }

            pub fn encode(&self) -> Bytes {
                match self {
                    $(messages!(@bound $name body $($body)?) => frame($kind, &messages!(@encode body $($body)?)),)+
                    Self::Other(kind) => frame(*kind, &[]),
                }
            }

            pub fn decode(frame: &Frame) -> Result<Self, WireError> {
                let malformed = |_| WireError::Malformed { kind: frame.kind, why: "not the message that its kind says" };
                let message = match frame.kind {
                    $($kind => messages!(@decode $name frame malformed $($body)?),)+
                    other => Self::Other(other),
                };
                if message.parts() > MAX_PARTS {
                    let why = "it has more parts than any message needs";
                    return Err(WireError::Malformed { kind: frame.kind, why });
                }
                Ok(message)
            }
        }
    };
    (@pattern $name:ident) => { Self::$name };
    (@pattern $name:ident $body:ident) => { Self::$name(_) };
    (@bound $name:ident $b:ident) => { Self::$name };
    (@bound $name:ident $b:ident $body:ident) => { Self::$name($b) };
    (@encode $b:ident) => { [] };
    (@encode $b:ident $body:ident) => { $b.encode_to_vec() };
    (@decode $name:ident $f:ident $m:ident) => { Self::$name };
    (@decode $name:ident $f:ident $m:ident $body:ident) => { Self::$name($body::decode($f.payload.clone()).map_err($m)?) };
}

messages! {
    1 Hello: Hello,
    2 Welcome: Welcome,
    3 Refused: Refused,
    4 Ping,
    5 Pong,
    6 Services: Services,
    7 ServicesReport: ServicesReport,
    8 Open: Open,
    9 Opened,
    10 OpenFailed: OpenFailed,
    11 Site: Site,
    12 SiteStored: SiteStored,
    13 LaneHello: LaneHello,
    14 LanesWanted: LanesWanted,
    15 CheckPorts: CheckPorts,
    16 PortsChecked: PortsChecked,
    17 Goodbye: Goodbye,
    18 Unsupported: Unsupported,
    19 Wishes: Wishes,
    20 Preparations: Preparations,
        21 Spending: Spending,
        23 LogWanted: LogWanted,
        24 RestartWanted: RestartWanted,
        25 ErrandDone: ErrandDone,
        26 Additions: Additions,
        27 AdditionsReport: AdditionsReport,
        28 Findings: Findings,
        29 PinholesWished: PinholesWished,
        30 PinholesSeen: PinholesSeen,
        31 PinholeProbe: PinholeProbe,
}

/// An empty part is two bytes on the wire and a hundred in memory. A report on all services of a device has fewer than
/// this.
pub const MAX_PARTS: usize = 16 * 1024;

impl Message {
    /// What a list in it, or in its lists, holds.
    fn parts(&self) -> usize {
        let of_site = |site: &Site| site.addresses.len() + site.keys.len();
        match self {
            Self::Services(services) => services.offers.len() + services.written_at.len(),
            Self::ServicesReport(report) => {
                let of = |s: &ServiceReport| 1 + s.reached_by.len() + s.problems.len() + s.notes.len();
                report.services.iter().map(of).sum()
            }
            Self::Site(site) => of_site(site),
            Self::Welcome(welcome) => welcome.site.as_ref().map_or(0, of_site),
            Self::CheckPorts(check) => check.hosts.len() + check.tcp.len(),
            Self::PortsChecked(checked) => checked.results.len(),
            Self::Wishes(wishes) => wishes.services.len(),
            Self::Preparations(preparations) => preparations.services.len(),
            Self::Spending(spending) => spending.services.len(),
            Self::Additions(additions) => additions.services.len(),
            Self::AdditionsReport(report) => report.may_offer.len() + report.refusals.len(),
            Self::Findings(found) => found.findings.len(),
            Self::PinholesWished(wished) => wished.pinholes.iter().map(|wish| 1 + wish.sources.len()).sum(),
            Self::PinholesSeen(seen) => seen.pinholes.len(),
            Self::ErrandDone(done) => done.lines.len(),
            Self::Hello(_)
            | Self::Refused(_)
            | Self::Ping
            | Self::Pong
            | Self::Open(_)
            | Self::Opened
            | Self::OpenFailed(_)
            | Self::SiteStored(_)
            | Self::LaneHello(_)
            | Self::LanesWanted(_)
            | Self::Goodbye(_)
            | Self::Unsupported(_)
            | Self::LogWanted(_)
            | Self::RestartWanted(_)
            | Self::PinholeProbe(_)
            | Self::Other(_) => 0,
        }
    }
}

/// Kinds of frames on a lane that carry no message. They share the number space with the messages above.
pub mod lane_kind {
    pub const DATA: u8 = 0x40;
    pub const FIN: u8 = 0x41;
    pub const RESET: u8 = 0x42;
}
