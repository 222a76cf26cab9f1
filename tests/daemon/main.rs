//! The built program, driven over real sockets by tests and by other people's senders; a module each behaviour.
//!
//! One program rather than one each, so that tests which mostly wait for audio to be spoken wait together.

#[path = "../support/mod.rs"]
mod support;

mod control_calls;
mod control_http;
mod control_openapi;
mod demo;
mod doctor;
mod journal;
mod junk_flood;
mod live_page;
mod metrics;
mod mishaps;
mod reload;
mod send_and_tail;
mod senders_baresip;
mod senders_ffmpeg;
mod senders_gstreamer;
mod senders_rtpengine;
mod senders_sipp;
mod spool;
