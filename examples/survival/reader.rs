//! A reader of the lines that comes back after every restart and goes on where it was.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// All lines so far.
pub struct Reader {
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Reader {
    pub fn start(socket: PathBuf) -> Self {
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let own = Arc::clone(&lines);
        thread::spawn(move || {
            loop {
                read(&socket, &own);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { lines }
    }

    pub fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// The lines from `first` on, once a call has ended in them and nothing has followed for a while.
    pub fn until_call_ended(&self, first: usize, patience: Duration) -> Vec<Value> {
        let deadline = Instant::now() + patience;
        loop {
            thread::sleep(Duration::from_millis(500));
            let lines = self.lines.lock().unwrap()[first..].to_vec();
            if lines.iter().any(|line| line["event"] == "call_ended") || Instant::now() > deadline {
                return lines;
            }
        }
    }
}

/// Reads until the daemon is gone. The numbering may begin again with another epoch.
fn read(socket: &Path, lines: &Mutex<Vec<Value>>) {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return;
    };
    let last = lines.lock().unwrap().last().cloned();
    let mut incoming = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok);
    let Some(hello) = incoming
        .next()
        .and_then(|line| serde_json::from_str::<Value>(&line).ok())
    else {
        return;
    };
    let next = match last {
        Some(last) if last["epoch"] == hello["epoch"] => last["seq"].as_u64().unwrap() + 1,
        _ => hello["oldest_seq"].as_u64().unwrap_or(0),
    };
    if writeln!(stream, "{{\"resume_from\":{next}}}").is_err() {
        return;
    }
    for line in incoming {
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["seq"].is_u64() {
            lines.lock().unwrap().push(line);
        }
    }
}
