//! Vocabulary and decisions of Doorward.
//!
//! Pure by rule: no tokio, no sockets, no clock (`now` is an argument), no storage. Whatever is decided here is
//! decided the same way in a test, in the gateway and in the agent.

pub mod access;
pub mod addition;
pub mod audit;
pub mod authority;
pub mod certificates;
pub mod hop;
pub mod ids;
pub mod inspection;
pub mod invite;
pub mod knock;
pub mod login;
pub mod names;
pub mod notice;
pub mod person;
pub mod pinhole;
pub mod prepare;
pub mod schema;
pub mod secret;
pub mod service;
pub mod session;
pub mod share;
pub mod site;
pub mod size;
pub mod span;
pub mod ssh;
pub mod web;

pub use ids::{
    AccountId, ApprovalId, DeviceId, GroupId, IdentityId, InviteId, KnockKeyId, LoginId, PasskeyId, ServiceId,
    SessionId, ShareId, WelcomeId,
};
pub use secret::Secret;
