//! The programs of the demonstration, their ports and their folder; all of it goes when this goes.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "looks for free ports, and waits with a deadline"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::demo::program::Program;

/// Everything that was started and made.
#[derive(Debug)]
pub(super) struct Stage {
    programs: Vec<Program>,
    ports: [u16; 2],
    folder: Folder,
    is_interrupted: Arc<AtomicBool>,
}

impl Stage {
    pub(super) fn set_up(keep: bool, is_interrupted: Arc<AtomicBool>) -> Result<Self, StageError> {
        let (ports, folder) = (free_ports()?, Folder::make(keep)?);
        Ok(Self {
            programs: Vec::new(),
            ports,
            folder,
            is_interrupted,
        })
    }

    /// The ports of the agent's and of the caller's leg.
    pub(super) const fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Starts `callscribe service`; gives its endpoint once it listens.
    pub(super) fn start_service(&mut self, model: Option<&Path>) -> Result<String, StageError> {
        let mut arguments: Vec<OsString> = vec!["--listen".into(), "127.0.0.1:0".into()];
        if let Some(model) = model {
            arguments.extend(["--model".into(), model.into()]);
        }
        let output = self.start("service", &arguments)?;
        self.wait("service", || {
            output.try_iter().find_map(|line| endpoint_in(&line))
        })
    }

    /// Starts `callscribe run`; gives a connection to its socket.
    pub(super) fn start_daemon(&mut self, endpoint: &str) -> Result<UnixStream, StageError> {
        let path = self.folder.path.join("demo.toml");
        let socket = self.folder.path.join("events.sock");
        fs::write(&path, configuration(endpoint, &socket, self.ports)).map_err(|source| {
            StageError::Folder {
                path: path.clone(),
                source,
            }
        })?;
        self.start("run", &["-c".into(), path.into()])?;
        self.wait("run", || UnixStream::connect(&socket).ok())
    }

    /// Finds out whether all programs still run, and whether the user wants them to.
    pub(super) fn check(&mut self) -> Result<(), StageError> {
        if self.is_interrupted.load(Ordering::Relaxed) {
            return Err(StageError::Interrupted);
        }
        for program in &mut self.programs {
            if let Some(status) = program.end() {
                let (name, log) = (program.name, program.last_words());
                return Err(StageError::Ended { name, status, log });
            }
        }
        Ok(())
    }

    /// Starts a program; gives the lines of its standard output.
    fn start(
        &mut self,
        name: &'static str,
        arguments: &[OsString],
    ) -> Result<Receiver<String>, StageError> {
        let (program, output) = Program::start(name, arguments, &self.folder.path)
            .map_err(|source| StageError::Start { name, source })?;
        self.programs.push(program);
        Ok(output)
    }

    fn wait<T>(
        &mut self,
        name: &'static str,
        mut is_ready: impl FnMut() -> Option<T>,
    ) -> Result<T, StageError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(ready) = is_ready() {
                return Ok(ready);
            }
            self.check()?;
            if Instant::now() > deadline {
                let program = self.programs.iter().find(|program| program.name == name);
                let log = program.map(Program::last_words).unwrap_or_default();
                return Err(StageError::NotReady { name, log });
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Stage {
    /// Stops the programs in the reverse order: the daemon still needs the service.
    fn drop(&mut self) {
        while self.programs.pop().is_some() {}
    }
}

/// Why the demonstration has no stage.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("no free UDP ports on 127.0.0.1: {0}")]
    Ports(io::Error),
    #[error("cannot start `callscribe {name}`: {source}")]
    Start {
        name: &'static str,
        source: io::Error,
    },
    #[error("`callscribe {name}` ended ({status}). It said:\n{log}")]
    Ended {
        name: &'static str,
        status: ExitStatus,
        log: String,
    },
    #[error("`callscribe {name}` was not ready after {} seconds. It said:\n{log}", READY_WITHIN.as_secs())]
    NotReady { name: &'static str, log: String },
    #[error("interrupted")]
    Interrupted,
}

/// A folder of its own for configuration, socket and logs.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, StageError> {
        let path = std::env::temp_dir().join(format!("callscribe-demo-{}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path, keep }),
            Err(source) => Err(StageError::Folder { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is a few kilobytes in the system's temporary folder.
            fs::remove_dir_all(&self.path).unwrap_or_default();
        }
    }
}

/// Two even ports, one after the other, that nobody uses; two demonstrations look in two places.
fn free_ports() -> Result<[u16; 2], StageError> {
    let bind = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
    let mut refused = None;
    let pairs = PORTS.step_by(4);
    let skipped = std::process::id() as usize % pairs.len();
    for first in pairs.clone().cycle().skip(skipped).take(pairs.len()) {
        match bind(first).and_then(|held| bind(first + 2).map(|other| (held, other))) {
            Ok(_) => return Ok([first, first + 2]),
            Err(error) => refused = Some(error),
        }
    }
    Err(StageError::Ports(
        refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()),
    ))
}

fn configuration(endpoint: &str, socket: &Path, [agent, caller]: [u16; 2]) -> String {
    format!(
        "[rtp]\n\
         bind-address = \"127.0.0.1\"\n\
         port-range = \"{agent}-{caller}\"\n\
         allowed-sources = [\"127.0.0.0/8\"]\n\
         idle-timeout-ms = 2000\n\
         registered-idle-timeout-ms = 2000\n\
         [asr]\n\
         provider = \"local\"\n\
         endpoint = {endpoint:?}\n\
         [events]\n\
         socket = {socket:?}\n\
         [journal]\n\
         path = {journal:?}\n\
         [[line]]\n\
         name = \"demo\"\n\
         legs = [{{ port = {agent}, role = \"AGENT\" }}, {{ port = {caller}, role = \"CUSTOMER\" }}]\n",
        journal = socket.with_file_name("journal.db")
    )
}

/// The endpoint that a line names: `ws://` and what follows up to a space or slash.
fn endpoint_in(line: &str) -> Option<String> {
    let start = line.find("ws://")?;
    let (scheme, host) = line[start..].split_at("ws://".len());
    let end = host
        .find(|c: char| c.is_whitespace() || c == '/')
        .unwrap_or(host.len());
    Some(format!("{scheme}{}", &host[..end]))
}

/// Where ports are looked for: below those that Linux gives to clients.
const PORTS: Range<u16> = 20_000..32_000;
/// How long a program may take to load and listen.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_found_in_the_ready_line() {
        let line = "callscribe service (whisper) listening on ws://127.0.0.1:40123/v1/x";
        assert_eq!(endpoint_in(line).as_deref(), Some("ws://127.0.0.1:40123"));
        assert_eq!(endpoint_in("loading the model"), None);
    }

    #[test]
    fn generated_configuration_is_a_valid_one() {
        let socket = Path::new("/tmp/with \"quotes\"/events.sock");
        let text = configuration("ws://127.0.0.1:9020", socket, [20_000, 20_002]);
        let file = crate::config::parse(Path::new("demo.toml"), &text).unwrap();
        assert_eq!(file.events.socket, socket);
        assert_eq!(file.line[0].legs.len(), 2);
        assert_eq!(file.warnings(), Vec::<String>::new());
    }
}
