//! What systemd is told, asked, and given to keep: readiness, the watchdog, the file descriptor
//! store, and whether a stop is a restart. Without systemd all of it does nothing.

#![expect(clippy::disallowed_types, reason = "the sockets pass through here")]
#![expect(clippy::disallowed_methods, reason = "the watchdog has a clock")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::process::Command;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::io::inherited::RTP;

/// Descriptors in one message to systemd; Linux takes 253 (SCM_MAX_FD).
const SOCKETS_A_MESSAGE: usize = 200;

/// The pulse of a worker that has ended, as it should when the daemon stops.
pub const ENDED: u64 = u64::MAX;

/// Descriptors that are put aside: what `systemctl` and the last checkpoints take.
const PUT_ASIDE: usize = 16;

/// How long systemd may take to say why the daemon is stopped.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The daemon is at work.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] is due when that is done.
pub fn reloading() {
    tell(&[NotifyState::Reloading]);
}

/// The daemon is about to end.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Hands sockets to systemd to keep: the next daemon gets them with what has arrived meanwhile.
pub fn keep<'a>(sockets: impl Iterator<Item = &'a UdpSocket>) {
    let fds: Vec<_> = sockets.map(AsFd::as_fd).collect();
    // A socket is not to be forgotten because of an error that is pending on it.
    let state = [
        NotifyState::FdStore,
        NotifyState::FdName(RTP),
        NotifyState::Custom("FDPOLL=0"),
    ];
    for fds in fds.chunks(SOCKETS_A_MESSAGE) {
        if let Err(error) = sd_notify::notify_with_fds(&state, fds) {
            warn!(%error, "systemd does not keep the UDP sockets: a restart loses the packets meanwhile");
            return;
        }
    }
}

/// Lets systemd forget all UDP sockets that it keeps, and waits until it has: their ports are free then.
pub fn forget_all() {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(RTP)]);
    if let Err(error) = wait_until_told() {
        warn!(%error, "cannot tell whether systemd has given the old sockets back");
    }
}

/// Waits until systemd has taken in everything that it was told: then it closes the pipe that is sent after it
/// (sd_notify_barrier(3)). Without systemd that is at once.
fn wait_until_told() -> io::Result<()> {
    let (mut reader, writer) = io::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[writer.as_fd()])?;
    drop(writer);
    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || closed.send(reader.read(&mut [0])).is_ok());
    match is_closed.recv_timeout(ANSWER_TIME) {
        Ok(outcome) => outcome.map(|_| ()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Feeds the watchdog of the unit for as long as every worker's pulse goes on; never returns.
pub async fn feed_watchdog(pulses: Vec<Arc<AtomicU64>>) -> std::convert::Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut looks = tokio::time::interval(patience / 4);
    let mut last: Vec<Option<u64>> = vec![None; pulses.len()];
    loop {
        looks.tick().await;
        let counts: Vec<_> = pulses
            .iter()
            .map(|pulse| Some(pulse.load(Ordering::Relaxed)))
            .collect();
        let mut pairs = counts.iter().zip(&last);
        let is_alive = pairs.all(|(count, last)| count != last || *count == Some(ENDED));
        if is_alive {
            tell(&[NotifyState::Watchdog]);
            last = counts;
        } else {
            warn!("a media worker does not get on; the watchdog is not fed");
        }
    }
}

/// Descriptors for the end: a daemon that has none left must still be able to ask whether it is restarted, and to leave
/// its calls to the next one. They are free once this is dropped.
pub fn put_aside() -> Vec<File> {
    let nothing = || File::open("/dev/null").ok();
    (0..PUT_ASIDE).map_while(|_| nothing()).collect()
}

/// Whether systemd stops the daemon only to start it again. `false` if it cannot be asked.
pub async fn is_restarting() -> bool {
    let Some(unit) = own_unit() else {
        return false;
    };
    let jobs = Command::new("systemctl")
        .args(["--no-pager", "--no-legend", "list-jobs", "--", &unit])
        .kill_on_drop(true)
        .output();
    match timeout(ANSWER_TIME, jobs).await {
        Ok(Ok(output)) if output.status.success() => {
            is_restart(&String::from_utf8_lossy(&output.stdout), &unit)
        }
        Ok(Ok(output)) => {
            debug!(answer = %String::from_utf8_lossy(&output.stderr), "systemctl does not answer");
            false
        }
        Ok(Err(error)) => {
            debug!(%error, "cannot run systemctl");
            false
        }
        Err(_) => false,
    }
}

/// The unit that the process belongs to; `None` where it was not started by systemd.
fn own_unit() -> Option<String> {
    std::env::var_os("INVOCATION_ID")?;
    unit_of(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The innermost service in the lines of cgroups(7).
fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut names = path.rsplit('/');
    names
        .find(|name| name.ends_with(".service"))
        .map(ToOwned::to_owned)
}

/// Reads the table of `systemctl list-jobs`: number, unit, type, state.
fn is_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|job| {
        let mut fields = job.split_whitespace().skip(1);
        fields.next() == Some(unit) && fields.next() == Some("restart")
    })
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be told how the daemon is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_is_the_innermost_service() {
        let cgroup = "0::/system.slice/callscribe.service\n";
        assert_eq!(unit_of(cgroup).as_deref(), Some("callscribe.service"));
        let nested = "0::/system.slice/system-callscribe.slice/callscribe@a.service/worker\n";
        assert_eq!(unit_of(nested).as_deref(), Some("callscribe@a.service"));
        assert_eq!(unit_of("0::/user.slice/session-1.scope\n"), None);
    }

    #[test]
    fn restart_is_told_from_stop_by_the_job() {
        let jobs = |kind| {
            format!(" 1234 callscribe.service {kind} running\n 99 b.service start waiting\n")
        };
        assert!(is_restart(&jobs("restart"), "callscribe.service"));
        assert!(!is_restart(&jobs("stop"), "callscribe.service"));
        assert!(!is_restart("No jobs running.\n", "callscribe.service"));
        assert!(!is_restart(&jobs("restart"), "b.service"));
    }
}
