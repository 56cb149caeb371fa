//! Port mappings on a home router: asked for, verified, renewed and taken back.
//!
//! ```text
//! wishes ─→ task ─→ keeper (decides, pure) ─→ deed ─→ router (speaks) ─→ answer ─→ keeper ─→ report
//!                     └ ledger: what was asked is on disk before it is asked
//! ```
//!
//! The only machine that is spoken to is the router of this machine's own default route, and it must have a private
//! address. PCP (RFC 6887) is tried first, then NAT-PMP (RFC 6886), then UPnP-IGD 1 and 2. All it says is taken for
//! hostile: answers are bounded in size, number and time, and count only from the address, and for the question,
//! that was asked.
//!
//! A mapping never outlives its wish by more than the router's lease. Where routers know no lease, the ledger
//! does: whatever it holds that nobody wishes is withdrawn, at the next start as well as at the next change.

mod attempt;
mod datagram;
mod epoch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keeper;
mod ledger;
mod natpmp;
mod pcp;
mod report;
mod route;
mod router;
mod task;
#[cfg(test)]
mod tests;
mod upnp;
mod verdict;
mod wish;

pub use ledger::LedgerError;
pub use report::{Open, Report, State, Why};
pub use route::{NoRouter, local_address};
pub use task::{PortMapper, Settings};
pub use verdict::{Verdict, verdict};
pub use wish::{ExternalPort, Protocol, Sources, Way, Wish, WishName, Wishes};
