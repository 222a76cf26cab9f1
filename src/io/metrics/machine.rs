//! The process and the kernel's receive queues, as /proc shows them.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::page::Page;
use crate::config::PortRange;

/// The ports that datagrams are received on.
#[derive(Clone, Debug)]
pub struct ReceivingPorts {
    /// The address.
    pub address: IpAddr,
    /// The ports.
    pub range: PortRange,
}

/// The process and the kernel at one moment; what the system does not tell is absent.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    queues: Option<Queues>,
    process: Option<Process>,
}

/// The receive queues of all ports together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Queues {
    /// Datagrams that the kernel dropped because a queue was full.
    drops: u64,
    /// Bytes that wait, with the kernel's own.
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: f64,
    open_files: f64,
    max_files: Option<f64>,
}

impl Machine {
    /// Reads /proc; it takes milliseconds where there are thousands of sockets.
    pub fn read(ports: &ReceivingPorts) -> Self {
        Self {
            queues: Queues::read(ports).ok(),
            process: Process::read(),
        }
    }

    pub(super) fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(queues) = self.queues {
            queues.encode(page)?;
        }
        match self.process {
            Some(process) => process.encode(page),
            None => Ok(()),
        }
    }
}

impl Queues {
    fn read(ports: &ReceivingPorts) -> io::Result<Self> {
        let table = match ports.address {
            IpAddr::V4(_) => "/proc/self/net/udp",
            IpAddr::V6(_) => "/proc/self/net/udp6",
        };
        Ok(Self::of(&fs::read_to_string(table)?, ports))
    }

    fn of(table: &str, ports: &ReceivingPorts) -> Self {
        let mut sum = Self::default();
        for line in table.lines().skip(1) {
            if let Some((address, port, queue)) = parse_socket(line)
                && address == ports.address
                && ports.range.contains(port)
            {
                sum.drops += queue.drops;
                sum.bytes += queue.bytes;
            }
        }
        sum
    }

    fn encode(self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "callscribe_kernel_drops",
            "Datagrams that the kernel dropped because the receive buffer of a port was full",
            self.drops as f64,
        )?;
        page.gauge(
            "callscribe_kernel_queue_bytes",
            "Bytes in the kernel's receive buffers, its own bookkeeping included",
            self.bytes as f64,
        )
    }
}

/// One line of /proc/net/udp: `sl local remote st tx:rx … drops`.
fn parse_socket(line: &str) -> Option<(IpAddr, u16, Queues)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let (_tx, rx) = fields.nth(2)?.split_once(':')?;
    let queue = Queues {
        bytes: u64::from_str_radix(rx, 16).ok()?,
        drops: fields.next_back()?.parse().ok()?,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((parse_address(address)?, port, queue))
}

/// The kernel prints each 32-bit word of an address as the host holds it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let bytes: [u8; 16] = words.concat().try_into().ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

impl Process {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may hold spaces and parentheses; fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - FIRST_FIELD)?.parse::<f64>().ok();
        let files = fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            start_seconds: boot_seconds()? + field(22)? / TICKS_PER_SECOND,
            resident_bytes: field(24)? * rustix::param::page_size() as f64,
            open_files: files as f64,
            max_files: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(|limit| limit as f64),
        })
    }

    fn encode(self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "process_cpu_seconds",
            "CPU time of the process",
            self.cpu_seconds,
        )?;
        page.gauge(
            "process_start_time_seconds",
            "When the process began, in Unix time",
            self.start_seconds,
        )?;
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory of the process",
            self.resident_bytes,
        )?;
        page.gauge(
            "process_open_fds",
            "File descriptors in use",
            self.open_files,
        )?;
        match self.max_files {
            Some(limit) => page.gauge("process_max_fds", "File descriptors there may be", limit),
            None => Ok(()),
        }
    }
}

/// When the machine was started, in Unix time.
fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// Number of the first field behind the name in /proc/self/stat (proc_pid_stat(5)).
const FIRST_FIELD: usize = 3;

/// `USER_HZ`, the same on every architecture that Linux runs on with glibc, Alpha apart.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 2137: 0100007F:4E20 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 12 2 0 7
 2138: 0100007F:4E22 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13 2 0 5
 2139: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 14 2 0 100
 2140: 00000000:4E20 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 15 2 0 1000
";

    #[test]
    fn drops_are_those_of_our_ports_at_our_address() {
        let ports = ReceivingPorts {
            address: Ipv4Addr::LOCALHOST.into(),
            range: PortRange::new(20_000, 20_999),
        };
        let queues = Queues::of(TABLE, &ports);
        assert_eq!(
            queues,
            Queues {
                drops: 12,
                bytes: 0xA00
            }
        );
    }

    #[test]
    fn address_of_the_new_family_is_read_too() {
        let text = "00000000000000000000000001000000";
        assert_eq!(parse_address(text), Some(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1e6 && process.open_files > 2.0);
        assert!(process.start_seconds > 1.7e9);
    }
}
