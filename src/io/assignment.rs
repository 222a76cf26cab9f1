//! Which worker gets which ports: all the legs of a line to one, those of a call that goes on likewise, and a port with
//! the one after it.

#![expect(clippy::disallowed_types, reason = "the sockets pass through here")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;

use crate::config::File;
use crate::config::file::Line;
use crate::io::checkpoint::FoundCall;

/// One worker's share.
#[derive(Debug, Default)]
pub struct Share {
    /// Its sockets, by port.
    pub sockets: Vec<(u16, UdpSocket)>,
    /// Lines whose ports are all among them.
    pub lines: Vec<Line>,
    /// Calls of the daemon before, with their ports among them, if those are still received on.
    pub found: Vec<FoundCall>,
}

/// Divides the ports among the workers that are configured.
pub fn divide(config: &File, sockets: Vec<(u16, UdpSocket)>, found: Vec<FoundCall>) -> Vec<Share> {
    let workers = match config.rtp.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        configured => usize::from(configured),
    };
    let mut plan = Plan::new(config.line.clone(), workers);
    let mut shares: Vec<Share> = (0..workers).map(|_| Share::default()).collect();
    for call in found {
        shares[plan.keep_together(&call.ports())].found.push(call);
    }
    for (port, socket) in sockets {
        shares[plan.worker(port)].sockets.push((port, socket));
    }
    for (number, line) in plan.lines.into_iter().enumerate() {
        shares[number % workers].lines.push(line);
    }
    // A worker without ports still says what becomes of the calls that it found.
    shares.retain(|share| !share.sockets.is_empty() || !share.found.is_empty());
    shares
}

struct Plan {
    lines: Vec<Line>,
    of_lines: BTreeMap<u16, usize>,
    /// By even port: where the call on it is.
    together: BTreeMap<u16, usize>,
    workers: usize,
}

impl Plan {
    fn new(lines: Vec<Line>, workers: usize) -> Self {
        let legs = lines.iter().enumerate().flat_map(|(number, line)| {
            line.legs
                .iter()
                .map(move |leg| (leg.port, number % workers))
        });
        Self {
            of_lines: legs.collect(),
            together: BTreeMap::new(),
            lines,
            workers,
        }
    }

    /// Gives the ports of a call, with those of their RTCP, to one worker: that of the first.
    fn keep_together(&mut self, ports: &[u16]) -> usize {
        let worker = ports.first().map_or(0, |&port| self.worker(port));
        for &port in ports {
            self.together.entry(port & !1).or_insert(worker);
        }
        worker
    }

    /// RTCP comes on the port after its stream's (RFC 3550 §11), so pairs stay together: an even port is given to no
    /// call where a line has the odd one.
    fn worker(&self, port: u16) -> usize {
        let (even, partner) = (port & !1, port ^ 1);
        let of_line = self
            .of_lines
            .get(&port)
            .or_else(|| self.of_lines.get(&partner))
            .or_else(|| self.together.get(&even));
        of_line
            .copied()
            .unwrap_or(usize::from(port / 2) % self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::LineLeg;

    #[test]
    fn legs_of_a_line_and_their_rtcp_share_a_worker() {
        let line = |name: &str, legs: &[u16]| Line {
            name: name.into(),
            legs: legs
                .iter()
                .map(|&port| LineLeg { port, role: None })
                .collect(),
        };
        let plan = Plan::new(
            vec![line("a", &[20_000, 20_006]), line("b", &[20_002, 20_004])],
            2,
        );
        assert_eq!(
            [20_000, 20_001, 20_006, 20_007].map(|port| plan.worker(port)),
            [0; 4]
        );
        assert_eq!(
            [20_002, 20_003, 20_004, 20_005].map(|port| plan.worker(port)),
            [1; 4]
        );
        assert_eq!(plan.worker(20_100), plan.worker(20_101));
    }

    #[test]
    fn odd_port_of_a_line_has_its_even_one_on_the_same_worker() {
        let legs = [20_001, 20_007, 20_009].map(|port| LineLeg { port, role: None });
        let line = Line {
            name: "odd".into(),
            legs: legs.into(),
        };
        let plan = Plan::new(vec![line], 2);
        assert_eq!(
            [20_000, 20_001, 20_006, 20_007, 20_008, 20_009].map(|port| plan.worker(port)),
            [0; 6]
        );
    }

    #[test]
    fn legs_of_a_call_that_goes_on_share_a_worker_though_there_are_more_workers_now() {
        let mut plan = Plan::new(Vec::new(), 4);
        let worker = plan.keep_together(&[20_002, 20_004]);
        let ports = [20_002, 20_003, 20_004, 20_005];
        assert_eq!(ports.map(|port| plan.worker(port)), [worker; 4]);
    }
}
