//! The parts put together: what the commands of the `doorward` binary do, callable from tests.

pub mod agent;
pub mod backup;
pub mod cli;
pub mod demo;
pub mod invite;
pub mod logging;
pub mod operations;
pub mod paths;
pub mod password;
pub mod serve;
pub mod shutdown;
