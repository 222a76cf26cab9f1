//! `callscribe check-config`: what is wrong with a configuration, or what is in force.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command's answer"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::exit;
use crate::config;

/// Check a configuration file, and show what is in force.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckConfigArgs {
    /// The file.
    pub file: PathBuf,
}

/// Prints what is in force; 78 if the file cannot be used.
pub fn run(args: &CheckConfigArgs) -> ExitCode {
    match config::load(&args.file) {
        Ok(file) => {
            for warning in file.warnings() {
                eprintln!("warning: {warning}");
            }
            match file.in_force() {
                Ok(text) => print!("{text}"),
                Err(error) => eprintln!("callscribe: cannot show what is in force: {error}"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("callscribe: {error}");
            ExitCode::from(exit::CONFIG)
        }
    }
}
