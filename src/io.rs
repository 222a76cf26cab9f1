//! Everything that touches the world: sockets, clocks, threads, signals.

pub mod publisher;
