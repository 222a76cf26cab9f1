//! The machine: its limits, its disk, and who holds our ports.

#![expect(clippy::disallowed_methods, reason = "the age of a file is asked for")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::finding::{Finding, Grade};
use crate::config::File;
use crate::io::metrics::ReceivingPorts;

/// Looks at what the daemon needs of the machine; `status` is the running daemon's, if there is one.
pub fn examine(config: &File, status: Option<&Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(receive_buffer(config));
    findings.extend(files(status));
    findings.extend(folders(config).iter().filter_map(|folder| disk(folder)));
    findings
}

/// Whether the daemon knows the file as it is now.
pub fn configuration_age(path: &Path, status: &Value) -> Option<Finding> {
    let changed = fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()?;
    let read = Duration::from_millis(status["configured_ms"].as_u64()?);
    // Whoever starts a daemon may write its file in the same moment.
    let is_newer = changed + Duration::from_secs(1) < read;
    is_newer.then(|| {
        let says = format!("{} was changed since the daemon read it.", path.display());
        Finding::warning("configuration", says)
            .because(format!(
                "changed {} s ago, read {} s ago",
                changed.as_secs(),
                read.as_secs()
            ))
            .so("Reload it: `systemctl reload callscribe`, or SIGHUP.")
    })
}

/// Which processes hold ports of the range; for a daemon that does not run.
pub fn port_owners(config: &File) -> Vec<Finding> {
    let ports = ReceivingPorts {
        address: config.rtp.bind_address,
        range: config.rtp.port_range.clone(),
    };
    let held = ports.held();
    let owners = owners_of(held.values().copied());
    let mut by_owner: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for (port, inode) in &held {
        let owner = owners
            .get(inode)
            .map_or("a process that this user may not see", String::as_str);
        by_owner.entry(owner).or_default().push(*port);
    }
    let finding = |(owner, ports): (&str, Vec<u16>)| {
        let first = ports.first().copied().unwrap_or(0);
        let says = format!(
            "{} of the UDP ports of the configuration, from {first} on, belong to {owner}.",
            ports.len()
        );
        Finding::fault("ports", says).so(
            "The daemon cannot start while somebody else holds its ports: stop that process, or \
             change rtp.port-range.",
        )
    };
    by_owner.into_iter().map(finding).collect()
}

/// Processes by the inodes of the sockets they have open.
fn owners_of(inodes: impl Iterator<Item = u64>) -> BTreeMap<u64, String> {
    let wanted: Vec<u64> = inodes.collect();
    let mut owners = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let links = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten();
        for link in links
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
        {
            if let Some(inode) = socket_inode(&link).filter(|inode| wanted.contains(inode)) {
                owners.insert(inode, describe(pid));
            }
        }
    }
    owners
}

fn socket_inode(link: &Path) -> Option<u64> {
    let link = link.to_str()?;
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn describe(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim())
}

fn receive_buffer(config: &File) -> Option<Finding> {
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?;
    let most: usize = most.trim().parse().ok()?;
    let asked = config.rtp.receive_buffer_bytes;
    Some(if asked > most {
        let says =
            format!("The kernel gives receive buffers of {most} bytes, and {asked} are asked for.");
        Finding::warning("kernel.rmem_max", says)
            .because("net.core.rmem_max is below rtp.receive-buffer-bytes")
            .so(format!(
                "`sysctl -w net.core.rmem_max={asked}`, and the same in /etc/sysctl.d."
            ))
    } else {
        Finding::ok(
            "kernel.rmem_max",
            format!("Receive buffers may have up to {most} bytes."),
        )
    })
}

/// Descriptors of the running daemon, where they may be seen.
fn files(status: Option<&Value>) -> Option<Finding> {
    let pid = status?["pid"].as_u64()?;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    let limit: usize = line.split_ascii_whitespace().nth(3)?.parse().ok()?;
    let says = format!("The daemon has {open} of {limit} files open.");
    Some(match open * 10 > limit * 9 {
        true => Finding::warning("files", says).so("Raise LimitNOFILE= of the unit."),
        false => Finding::ok("files", says),
    })
}

/// Where the daemon writes; one folder for each file system.
fn folders(config: &File) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let existing = |path: PathBuf| {
        path.ancestors()
            .find(|path| path.is_dir())
            .map(Path::to_owned)
    };
    let folders = config.state_files().into_iter().filter_map(existing);
    let is_new = |folder: &PathBuf| fs::metadata(folder).is_ok_and(|it| seen.insert(it.dev()));
    folders.filter(is_new).collect()
}

fn disk(folder: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail * disk.f_frsize;
    let percent = (disk.f_bavail * 100).checked_div(disk.f_blocks)?;
    let says = format!(
        "{} MB are free ({percent} %) at {}.",
        free / 1_000_000,
        folder.display()
    );
    Some(match (free, percent) {
        (0..FULL_BYTES, _) => Finding::fault("disk", says)
            .so("Make room: audio that waits for the recogniser, and lines, are kept there."),
        (0..SCARCE_BYTES, 0..10) => {
            Finding::warning("disk", says).so("Make room before it is full.")
        }
        _ => Finding::ok("disk", says),
    })
}

/// How the clock of this host is kept, where systemd keeps it.
pub fn clock() -> Option<Finding> {
    let marker = Path::new("/run/systemd/timesync/synchronized");
    let is_kept = Path::new("/run/systemd/timesync").is_dir();
    let set = fs::metadata(marker)
        .and_then(|marker| marker.modified())
        .ok();
    let ago = set.and_then(|set| SystemTime::now().duration_since(set).ok());
    match (is_kept, ago) {
        (true, Some(ago)) => {
            let says = format!("The clock was set by NTP {} s ago.", ago.as_secs());
            Some(Finding::ok("clock.ntp", says))
        }
        (true, None) => Some(Finding::new(
            "clock.ntp",
            Grade::Warning,
            "The clock was never set by NTP.",
        )),
        (false, _) => None,
    }
}

/// Below this, nothing more can be kept for long.
const FULL_BYTES: u64 = 100_000_000;

/// Less than the journal and the spool may take by default is worth a look, on a disk that is nearly full.
const SCARCE_BYTES: u64 = 8_000_000_000;

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a port is held")]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::config::PortRange;

    #[test]
    fn process_that_holds_a_port_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut config = File::default();
        config.rtp.bind_address = "127.0.0.1".parse().unwrap();
        config.rtp.port_range = PortRange::new(port, port);
        let findings = port_owners(&config);
        let ours = format!("process {}", std::process::id());
        assert!(findings[0].says.contains(&ours), "{findings:?}");
        drop(socket);
        assert_eq!(port_owners(&config), []);
    }

    #[test]
    fn buffer_beyond_the_kernels_limit_is_told_with_the_sysctl() {
        let mut config = File::default();
        config.rtp.receive_buffer_bytes = usize::MAX / 2;
        let found = receive_buffer(&config).unwrap();
        assert_eq!(found.grade, Grade::Warning);
        assert!(found.advice.contains("sysctl -w net.core.rmem_max"));
    }
}
