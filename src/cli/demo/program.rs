//! A subcommand of this program, running on its own.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for the program to stop, with a deadline"
)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running program; dropping it stops it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `callscribe NAME` with its standard error in a file of the folder; gives the lines of
    /// its standard output, of which some may be left out when nobody takes them.
    pub(super) fn start(
        name: &'static str,
        arguments: &[OsString],
        folder: &Path,
    ) -> io::Result<(Self, Receiver<String>)> {
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new(std::env::current_exe()?)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            // Ctrl-C reaches the demonstration alone, which then stops its programs in order.
            .process_group(0)
            .spawn()?;
        let (line_read, lines) = mpsc::sync_channel(16);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // Reading goes on in any case, or the program would stand still.
                    line_read.try_send(line).unwrap_or_default();
                }
            });
        }
        Ok((Self { name, child, log }, lines))
    }

    /// How it ended, if it has.
    pub(super) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it wrote to standard error.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}

impl Drop for Program {
    /// Asks the program to stop, and makes it if it does not.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let is_asked =
            self.end().is_none() && pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let deadline = Instant::now() + STOP_WITHIN;
        while is_asked && Instant::now() < deadline {
            if self.end().is_some() {
                return;
            }
            thread::sleep(GLANCE);
        }
        // Fails only for a program that has ended meanwhile.
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .unwrap_or_default();
    }
}

/// How long it may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// How many lines of its log are shown when it fails.
const LAST_WORDS: usize = 12;
