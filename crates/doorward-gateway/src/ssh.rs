//! The SSH entrance: devices that have nothing but `ssh -R`, and visitors that have nothing but `ssh`.

mod pipe;
mod queue;
mod window;
mod wire;

#[cfg(test)]
mod flow_tests;
