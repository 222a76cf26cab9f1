//! The rooms of the daemon that a packet passes, and nothing else of it: these are links to its files.
//!
//! That they can be taken out like this is what "the core is pure" means.

pub mod asr;
pub mod call;
pub mod event;
pub mod io;
pub mod media;
pub mod moment;
mod octets;
mod queue;
pub mod speech;
