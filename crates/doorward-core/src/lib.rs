//! Vocabulary and decisions of Doorward.
//!
//! Pure by rule: no tokio, no sockets, no clock (`now` is an argument), no storage. Whatever is decided here is
//! decided the same way in a test, in the gateway and in the agent.

pub mod access;
pub mod audit;
pub mod certificates;
pub mod hop;
pub mod ids;
pub mod invite;
pub mod login;
pub mod names;
pub mod notice;
pub mod person;
pub mod pinhole;
pub mod prepare;
pub mod secret;
pub mod service;
pub mod session;
pub mod site;
pub mod span;
pub mod ssh;
pub mod web;

pub use ids::{AccountId, DeviceId, GroupId, InviteId, LoginId, PasskeyId, ServiceId, SessionId, WelcomeId};
pub use secret::Secret;
