//! The subcommands: arguments in, exit code out.

pub mod service;
