//! Everything that touches the world: sockets, clocks, threads, signals.

pub mod assignment;
pub mod http;
pub mod logging;
pub mod media_worker;
pub mod part_audio;
pub mod publisher;
pub mod recogniser;
pub mod sockets;
pub mod transport;
pub mod websocket;
