//! `callscribe manual`: writes the manual pages and the shell completions that the package holds, from the same tree of
//! commands that reads the arguments.

#![expect(clippy::print_stderr, reason = "the command's answer")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate_to};

use crate::cli::exit;

/// Write the manual pages and the shell completions.
#[derive(Clone, Debug, Args)]
pub struct ManualArgs {
    /// Where they go, in folders `man` and `completions`
    pub folder: PathBuf,
}

/// Writes everything.
pub fn run(args: &ManualArgs, program: Command) -> ExitCode {
    match write(&args.folder, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "callscribe: cannot write to {}: {error}",
                args.folder.display()
            );
            ExitCode::from(exit::OS_ERROR)
        }
    }
}

fn write(folder: &Path, mut program: Command) -> io::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut program, "callscribe", &completions)?;
    }
    clap_mangen::generate_to(program, pages)
}
