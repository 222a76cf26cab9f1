//! Everything that touches the world: sockets, clocks, threads, signals.

pub mod assignment;
pub mod authenticator;
pub mod checkpoint;
pub mod checkpoint_store;
mod connections;
pub mod control;
pub mod http;
pub mod inherited;
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
pub mod systemd;
mod token_source;
pub mod transport;
pub mod unix_socket;
pub mod websocket;
