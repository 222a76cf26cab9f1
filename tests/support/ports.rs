//! Ports that nobody uses.
//!
//! They are looked up, not tried: a socket that is bound to try one may live on for a moment in a program that another
//! test starts meanwhile.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Tests of one program run at once, and so may several programs: each looks elsewhere, and none where the kernel takes
/// ports from for those who ask for any.
struct Search {
    first: u16,
    /// Ports of one program.
    share: u16,
    taken: AtomicU16,
    tables: [&'static str; 2],
}

/// The first of so many UDP ports in a row that nobody uses, even.
pub fn free_ports(count: u16) -> u16 {
    static UDP: Search = Search::new(10_000, 40, ["udp", "udp6"]);
    UDP.next(count.next_multiple_of(2))
}

/// A TCP address where nobody listens yet.
pub fn free_address() -> SocketAddr {
    static TCP: Search = Search::new(24_000, 20, ["tcp", "tcp6"]);
    (Ipv4Addr::LOCALHOST, TCP.next(1)).into()
}

impl Search {
    const fn new(first: u16, share: u16, tables: [&'static str; 2]) -> Self {
        Self {
            first,
            share,
            taken: AtomicU16::new(0),
            tables,
        }
    }

    fn next(&self, count: u16) -> u16 {
        let process = u16::try_from(std::process::id() % 300).unwrap() * self.share;
        for _ in 0..1000 {
            let first = self.first + process + self.taken.fetch_add(count, Ordering::Relaxed);
            if self.is_free(first..first + count) {
                return first;
            }
        }
        panic!("no {count} free ports in a row: {}", self.tables[0]);
    }

    fn is_free(&self, ports: Range<u16>) -> bool {
        let mut used = self.tables.iter().flat_map(|table| used_ports(table));
        !used.any(|port| ports.contains(&port))
    }
}

/// The local ports in a table of the kernel, like `/proc/net/udp`.
fn used_ports(table: &str) -> Vec<u16> {
    let table = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    table.lines().skip(1).map(local_port).collect()
}

/// `   0: 0100007F:3D90 00000000:0000 …`: the second word, behind the colon.
fn local_port(line: &str) -> u16 {
    let port = line
        .split_whitespace()
        .nth(1)
        .and_then(|local| local.rsplit_once(':'));
    u16::from_str_radix(port.unwrap().1, 16).unwrap()
}
