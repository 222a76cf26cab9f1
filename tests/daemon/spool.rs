//! The spool in the daemon: outages and crashes cost time, not words. Tables are printed with `--nocapture`;
//! `CALLSCRIBE_LONG=1` runs for minutes what otherwise takes seconds.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests of the whole program live in real time, what fails here fails the test, and \
              tables are printed for people"
)]

mod account;
mod chaos;
mod kill;
mod outage;
mod overload;
mod slow_reader;
mod station;
mod tokens;
