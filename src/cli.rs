//! The subcommands: each has its arguments and a `run` that gives the exit code (`sysexits.h`).

pub mod calls;
pub mod check_config;
pub mod demo;
pub mod exit;
pub mod manual;
pub mod replay;
pub mod run;
pub mod send;
pub mod service;
pub mod tail;
