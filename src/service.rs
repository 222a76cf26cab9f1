//! A local short-stream service: the recogniser that needs no account, and the touchstone of the
//! client.
//!
//! ```text
//!  client ◄─► connection ◄─► session::SessionServer ─► engine: whisper │ scripted
//!     │          ▲ WebSocket   messages and time in,            │
//!     │          │             answers and jobs out             │
//!     └► server ─┘ handshake: path, credentials, quota ◄────────┘ its name is in every trace id
//! ```
//!
//! The protocol is that of the cloud service, strict where its documentation is plain and tolerant
//! where clients differ. [`session`], [`settings`], [`audio`], [`handshake`] and [`tone_code`] are
//! pure; [`server`] and its connections touch sockets and clocks.

pub mod audio;
pub mod config;
mod connection;
pub mod counters;
pub mod engine;
pub mod fault;
pub mod gate;
pub mod handshake;
pub mod iam;
pub mod rules;
pub mod server;
pub mod session;
pub mod settings;
pub mod signature;
pub mod tls;
pub mod tone_code;
