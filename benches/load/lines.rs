//! A reader of the daemon's lines, as a program of a contact centre is one.

use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::contestant::Ledger;

/// A thread that reads until the daemon ends, and adds up.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Mutex<Ledger>>);

impl Reader {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(socket)?;
        let sums = Arc::new(Mutex::new(Ledger::default()));
        let shared = Arc::clone(&sums);
        thread::spawn(move || {
            for line in BufReader::new(socket).lines().map_while(io::Result::ok) {
                let mut sums = shared.lock().unwrap_or_else(PoisonError::into_inner);
                add(&line, &mut sums);
            }
        });
        Ok(Self(sums))
    }

    /// What has come so far.
    pub(crate) fn ledger(&self) -> Ledger {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(line: &str, sums: &mut Ledger) {
    if line.contains(r#""event":"transcript""#) {
        sums.texts += u64::from(line.contains(r#""part_final":true"#));
    }
    if !line.contains(r#""event":"call_ended""#) {
        return;
    }
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    for leg in line["coverage"].as_array().into_iter().flatten() {
        let of = |value: &Value| value.as_u64().unwrap_or(0);
        sums.legs += 1;
        sums.packets += of(&leg["rtp"]["packets"]);
        sums.lost += of(&leg["rtp"]["lost"]);
        sums.speech_ms += of(&leg["speech_ms"]);
        sums.silence_ms += of(&leg["silence_ms"]);
        sums.transcribed_ms += of(&leg["transcribed_ms"]);
        sums.gap_ms += of(&leg["gap_ms"]);
    }
}
