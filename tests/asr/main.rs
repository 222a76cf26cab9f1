//! The recogniser's client against a server whose behaviour each test writes out.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests use sockets, clocks and assertions"
)]

mod chaos;
mod connections;
mod credentials;
mod failures;
mod load;
mod recognition;
mod support;
