//! Everything that touches the world: sockets, clocks, threads, signals.

pub mod publisher;
//! The shell: sockets, clocks, tasks and files.
pub mod http;
pub mod part_audio;
pub mod recogniser;
pub mod transport;
pub mod websocket;
