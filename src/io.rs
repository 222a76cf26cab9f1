//! The shell: sockets, clocks, tasks and files.

pub mod authenticator;
mod connections;
pub mod http;
pub mod part_audio;
pub mod provider;
pub mod recogniser;
mod session_gate;
mod token_source;
pub mod transport;
pub mod websocket;
