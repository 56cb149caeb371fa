//! The link between gateway and agent, both ends together.
//!
//! A *carrier* (QUIC, TLS, a WebSocket, memory) is dialled by the agent and authenticates the gateway. The *handshake*
//! proves the device over it. What stands then is a *link*: the gateway opens *streams* in it, one per visit, each
//! acknowledged by the agent, and both ends *splice* visitor and target to it.

mod acceptor;
mod agent_end;
mod dialer;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway_end;
mod gateway_link;
mod handshake;
pub mod identity;
mod lane;
mod lane_pool;
mod link;
pub mod messages;
mod names;
mod pieces;
mod pinning;
mod pipe;
mod probe;
mod pulse;
mod queue;
mod race;
pub mod splice;
mod stream;
mod throttle;
mod transport;
mod udp;
mod visit;
pub mod wire;

pub use acceptor::{Acceptor, ArrivalError, CARRIER_LIMIT};
pub use agent_end::{AgentLink, AgentStanding};
pub use dialer::{Destination, Dialer, Established};
pub use gateway_end::{Arrival, Standing};
pub use gateway_link::{GatewayLink, OPEN_LIMIT, OpenError, OpenRequest};
pub use handshake::{Channel, Claims, HANDSHAKE_LIMIT, HandshakeError, Introduction};
pub use link::{LinkEnd, LinkId};
pub use names::Names;
pub use pieces::Pieces;
pub use pipe::{Duplex, Pipe, keep_alive, tune_tcp};
pub use probe::{Probe, ProbeError};
pub use pulse::Rhythm;
pub use queue::PacketQueue;
pub use stream::{Reset, Stream};
pub use throttle::{Bucket, Pace};
pub use transport::carried::{Carried, accept_carried, carried_config};
pub use transport::memory::{MemoryDialer, MemoryListener, memory};
pub use transport::tls::{Proxy, Upgraded};
pub use transport::websocket::{answer_link_upgrade, websocket_accept};
pub use udp::{Flow, FlowEnd, read_packet, write_packet};
pub use visit::Visit;
