//! Everything that touches the world: sockets, clocks, threads, signals.

pub mod assignment;
pub mod authenticator;
mod connections;
pub mod control;
pub mod http;
pub mod journal;
pub mod logging;
pub mod media_worker;
pub mod metrics;
pub mod part_audio;
pub mod provider;
pub mod publisher;
pub mod recogniser;
mod session_gate;
pub mod sockets;
mod token_source;
pub mod transport;
pub mod unix_socket;
pub mod websocket;
