//! The parts put together: what the commands of the `doorward` binary do, callable from tests.

pub mod admin;
pub mod agent;
pub mod backup;
pub mod cli;
pub mod demo;
pub mod doctor;
mod follow;
pub mod front;
pub mod generate;
pub mod install;
pub mod invite;
pub mod knock;
pub mod logging;
pub mod open;
pub mod open_files;
pub mod operations;
pub mod password;
pub mod paths;
pub mod restore;
pub mod serve;
pub mod shutdown;
pub mod terminal;

#[cfg(test)]
mod testbed;
