//! A daemon that may be killed and started again, with what it keeps on disk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callscribe::service::tone_code;
use callscribe::wav;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{free_ports, wait_for};

/// The daemon, its folder and its lines of one leg each.
pub(crate) struct Station {
    pub(crate) folder: TempDir,
    pub(crate) ports: Vec<u16>,
    child: Option<Child>,
}

impl Station {
    /// With so many lines, and keys of `[asr]` and of other tables; not started yet.
    pub(crate) fn new(lines: u16, asr: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first = free_ports(2 * lines);
        let ports: Vec<u16> = (0..lines).map(|line| first + 2 * line).collect();
        let socket = folder.path().join("events.sock");
        let last = first + 2 * lines - 1;
        let legs: String = ports
            .iter()
            .map(|port| format!("[[line]]\nname = \"l{port}\"\nlegs = [{{ port = {port} }}]\n"))
            .collect();
        // A hole that is filled sounds like another second now and then.
        let config = format!(
            "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first}-{last}\"\n\
             conceal-loss = false\nidle-timeout-ms = 2000\n[speech]\ndetector = \"webrtc\"\n[asr]\n{asr}\n\
             [events]\nsocket = {socket:?}\n{more}\n{legs}"
        );
        fs::write(folder.path().join("callscribe.toml"), config).unwrap();
        let child = None;
        Self {
            folder,
            ports,
            child,
        }
    }

    /// Starts the daemon, and tells how long it took to answer.
    pub(crate) fn start(&mut self) -> Duration {
        let begun = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("daemon.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .args(["run", "-c"])
            .arg(self.folder.path().join("callscribe.toml"))
            .env("STATE_DIRECTORY", self.folder.path())
            .env("RUNTIME_DIRECTORY", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.child = Some(child.unwrap());
        let answer = wait_for(Duration::from_secs(20), || {
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(status.is_none(), "{status:?}: {}", self.log());
            UnixStream::connect(self.socket()).ok()
        });
        answer.expect("the daemon answers");
        begun.elapsed()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGHUP, and waits until the configuration was read.
    pub(crate) fn reload(&self) {
        let reloads = || self.log().matches("the configuration was reloaded").count();
        let before = reloads();
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), Signal::HUP).unwrap();
        let read = wait_for(Duration::from_secs(20), || {
            (reloads() > before).then_some(())
        });
        assert!(read.is_some(), "{}", self.log());
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self, within: Duration) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let status = wait_for(within, || child.try_wait().unwrap());
        assert!(
            status.is_some_and(|status| status.success()),
            "{}",
            self.log()
        );
    }

    /// Writes something else into the configuration.
    pub(crate) fn replace(&self, old: &str, new: &str) {
        let config = self.folder.path().join("callscribe.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, text.replace(old, new)).unwrap();
    }

    /// Speaks on a line, in real time.
    pub(crate) fn speak(&self, line: usize, seconds: u64) -> Child {
        self.speak_in_turns(line, seconds, 1)
    }

    /// Speaks on a line in turns of some seconds, each long enough after the other to be an utterance of
    /// its own. The seconds are numbered through.
    pub(crate) fn speak_in_turns(&self, line: usize, seconds: u64, turns: u64) -> Child {
        let stream = u16::try_from(line).unwrap() + 1;
        let turn = |n| tone_code::encode(stream, n * seconds, seconds * 1_000);
        let spoken = (0..turns).flat_map(|n| [vec![0; 9_600], turn(n)]);
        let samples: Vec<i16> = spoken.chain([vec![0; 9_600]]).flatten().collect();
        let wav = self.folder.path().join(format!("speech{stream}.wav"));
        wav::write(File::create(&wav).unwrap(), samples).unwrap();
        let to = format!("127.0.0.1:{}", self.ports[line]);
        Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .args(["send", wav.to_str().unwrap(), "--to", &to])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Every line from the oldest on, until `is_enough` of them.
    pub(crate) fn lines(
        &self,
        within: Duration,
        mut is_enough: impl FnMut(&[Value]) -> bool,
    ) -> Vec<Value> {
        let mut reader = UnixStream::connect(self.socket()).unwrap();
        reader.write_all(b"{\"resume_from\":\"oldest\"}\n").unwrap();
        let timeout = Some(Duration::from_millis(500));
        reader.set_read_timeout(timeout).unwrap();
        let (mut reader, deadline) = (BufReader::new(reader), Instant::now() + within);
        let (mut lines, mut line) = (Vec::new(), String::new());
        while !is_enough(&lines) {
            assert!(Instant::now() < deadline, "{lines:#?}\n{}", self.log());
            match reader.read_line(&mut line) {
                Ok(0) => panic!("the daemon closed: {}", self.log()),
                Ok(_) => {
                    lines.push(serde_json::from_str(&line).unwrap());
                    line.clear();
                }
                // What was read so far stays in `line`.
                Err(_) => {}
            }
        }
        lines
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// Bytes in the spool, and files of parts that wait.
    pub(crate) fn spool(&self) -> (u64, usize) {
        let files = fs::read_dir(self.folder.path().join("spool")).unwrap();
        let files: Vec<_> = files.map_while(Result::ok).collect();
        let size = |file: &fs::DirEntry| file.metadata().map_or(0, |file| file.len());
        let is_part = |file: &&fs::DirEntry| file.path().extension().is_some_and(|e| e == "part");
        let parts = files.iter().filter(is_part).count();
        (files.iter().map(size).sum(), parts)
    }

    /// Resident memory now, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("events.sock")
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .and_then(|()| child.wait().map(drop))
                .unwrap_or_default();
        }
    }
}

/// Whether so many calls have ended.
pub(crate) fn ended(calls: usize) -> impl FnMut(&[Value]) -> bool {
    move |lines| {
        let ended = lines.iter().filter(|line| line["event"] == "call_ended");
        ended.count() >= calls
    }
}

/// Whether minutes are wanted.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CALLSCRIBE_LONG").is_some()
}
