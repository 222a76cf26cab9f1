//! callscribe hears the calls of a contact centre and writes down what is said.
//!
//! A PBX sends it G.711 as RTP; it finds what is speech, has it recognised in short-stream sessions of under a minute,
//! and publishes transcripts as JSON lines on a Unix socket.
//!
//! # The packet's path
//!
//! ```text
//!  UDP ─► io::media_worker ─► call::switchboard ─► call::leg
//!                                                   │ media::receiver   datagrams → 20 ms frames on the call clock
//!                                                   │ speech::utterance frames → utterances → parts under a minute
//!                                                   ▼
//!         io::recogniser ◄── parts and their audio ─┴─ events ──► io::publisher ─► readers
//!               └── asr::session ◄─► WebSocket
//! ```
//!
//! `media`, `speech`, `asr` and `call` are pure: bytes and `now` in, outputs drained. Only `io`, `service`'s server and
//! `cli` touch sockets, clocks, tasks and files.

pub mod asr;
pub mod call;
pub mod capture;
pub mod cli;
pub mod config;
pub mod eval;
pub mod event;
pub mod io;
pub mod media;
pub mod moment;
mod octets;
mod queue;
pub mod service;
pub mod speech;
pub mod wav;
