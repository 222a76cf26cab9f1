//! The shell: sockets, clocks, tasks and files.

pub mod authenticator;
pub mod http;
pub mod part_audio;
pub mod provider;
pub mod recogniser;
pub mod transport;
pub mod websocket;
