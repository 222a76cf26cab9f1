//! What the kernel knows of the sockets that the streams come to.

use std::fs;
use std::ops::Range;

use crate::Outcome;

/// The first of the even ports that streams go to. All of them lie below those that the kernel gives out itself.
pub(crate) const FIRST: u16 = 10_000;

/// The ports of so many legs, each with the odd one after it.
pub(crate) fn of(legs: u16) -> Range<u16> {
    FIRST..FIRST + 2 * legs
}

/// Every UDP socket on those ports together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sockets {
    /// Bound ones with an even port: legs that are listened to.
    pub(crate) legs: usize,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub(crate) dropped: u64,
    /// Sockets with something that nobody has fetched yet.
    pub(crate) unread: usize,
}

/// UDP datagrams that were fetched from any socket of this machine, since it began.
pub(crate) fn fetched() -> Outcome<u64> {
    let table = fs::read_to_string("/proc/net/snmp")?;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (rows.next().unwrap_or(""), rows.next().unwrap_or(""));
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let count = columns.find(|(name, _)| *name == "InDatagrams");
    Ok(count
        .ok_or("the kernel does not count datagrams")?
        .1
        .parse()?)
}

/// Reads `/proc/net/udp`.
pub(crate) fn look(ports: &Range<u16>) -> Outcome<Sockets> {
    let table = fs::read_to_string("/proc/net/udp")?;
    let mut sockets = Sockets::default();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(queues), Some(dropped)) =
            (fields.get(1), fields.get(4), fields.last())
        else {
            continue;
        };
        let port = local.rsplit_once(':').map_or("", |(_, port)| port);
        let port = u16::from_str_radix(port, 16)?;
        if ports.contains(&port) {
            sockets.legs += usize::from(port % 2 == 0);
            sockets.dropped += dropped.parse::<u64>()?;
            sockets.unread += usize::from(!queues.ends_with(":00000000"));
        }
    }
    Ok(sockets)
}
