//! What the kernel has booked to a process.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::Outcome;

/// A process whose use is measured from one moment to another.
#[derive(Debug)]
pub(crate) struct Account {
    pid: u32,
    since: Spent,
    opened: Instant,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    /// Processor seconds of all its threads.
    pub(crate) cpu: f64,
    /// How much of them in the kernel.
    pub(crate) system: f64,
    /// Seconds that went by meanwhile.
    pub(crate) wall: f64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident_kib: u64,
    /// Most resident memory since its start, in KiB.
    pub(crate) peak_kib: u64,
}

impl Use {
    /// The share of one core.
    pub(crate) fn of_core(&self) -> f64 {
        self.cpu / self.wall.max(f64::MIN_POSITIVE)
    }
}

impl Account {
    /// Begins to measure.
    pub(crate) fn open(process: &Child) -> Outcome<Self> {
        let pid = process.id();
        Ok(Self {
            pid,
            since: spent(pid)?,
            opened: Instant::now(),
        })
    }

    /// The use so far.
    pub(crate) fn so_far(&self) -> Outcome<Use> {
        let now = spent(self.pid)?;
        let (user, system) = (now.user - self.since.user, now.system - self.since.system);
        Ok(Use {
            cpu: user + system,
            system,
            wall: Duration::as_secs_f64(&self.opened.elapsed()),
            resident_kib: memory_kib(self.pid, "VmRSS:")?,
            peak_kib: memory_kib(self.pid, "VmHWM:")?,
        })
    }
}

/// Resident memory now, in KiB.
pub(crate) fn resident_kib(process: &Child) -> Outcome<u64> {
    memory_kib(process.id(), "VmRSS:")
}

fn memory_kib(pid: u32, key: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib
        .ok_or("the kernel does not tell the memory of a process; has it ended?")?
        .parse()?)
}

/// Seconds in user and in system mode.
#[derive(Clone, Copy, Debug)]
struct Spent {
    user: f64,
    system: f64,
}

/// The whole process, threads that have ended included, in steps of 10 ms.
fn spent(pid: u32) -> Outcome<Spent> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in the second field may hold anything, even parentheses.
    let (_, fields) = text.rsplit_once(')').ok_or("no name in stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let seconds = |field: usize| -> Outcome<f64> {
        let ticks = fields.get(field - 3).ok_or("stat is too short")?;
        Ok(ticks.parse::<f64>()? / TICKS_PER_SECOND)
    };
    Ok(Spent {
        user: seconds(14)?,
        system: seconds(15)?,
    })
}

/// `USER_HZ`, which is 100 on every architecture that matters here.
const TICKS_PER_SECOND: f64 = 100.0;
