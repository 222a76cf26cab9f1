//! The UDP sockets: one a port, all bound before anything else starts.

#![expect(clippy::disallowed_types, reason = "UDP is received here")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::{info, warn};

use crate::config::file::Rtp;
use crate::io::inherited::Inherited;
use crate::io::systemd;

/// Descriptors that the daemon needs beside its ports: readers, sessions, logs, epoll.
const OTHER_DESCRIPTORS: u64 = 512;

/// Why the ports cannot be received on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A port could not be bound.
    #[error(
        "cannot receive on UDP {address}: {source}; free the port (`ss -lunp` shows who has it) \
         or change rtp.bind-address or rtp.port-range"
    )]
    Port {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There are more ports than the process may have descriptors.
    #[error(
        "rtp.port-range has {ports} ports, but this process may open only {limit} files; raise its \
         limit (LimitNOFILE= of the unit, `ulimit -n`), narrow the range, or halve it by rtp.rtcp-mux"
    )]
    TooManyPorts {
        /// Ports of the range.
        ports: u64,
        /// The hard limit.
        limit: u64,
    },
}

/// Binds every port of the range, with `rtcp-mux` every even one, lowest first, but for those that the daemon before has left. The
/// service manager keeps them all for the daemon after.
///
/// # Errors
/// When one cannot be bound, or the process may not have so many descriptors.
pub fn bind_all(rtp: &Rtp, inherited: &mut Inherited) -> Result<Vec<(u16, UdpSocket)>, BindError> {
    let ports = rtp.port_range.ports();
    let ports: Vec<u16> = ports
        .filter(|port| !rtp.rtcp_mux || port % 2 == 0)
        .collect();
    let needed = ports.len() as u64 + OTHER_DESCRIPTORS;
    let limit = raise_descriptor_limit();
    if limit < needed {
        return Err(BindError::TooManyPorts {
            ports: ports.len() as u64,
            limit,
        });
    }
    let address = |port| SocketAddr::new(rtp.bind_address, port);
    let mut left: BTreeMap<u16, UdpSocket> = ports
        .iter()
        .filter_map(|&port| Some((port, inherited.take_udp(address(port))?)))
        .collect();
    if !left.is_empty() {
        info!(
            sockets = left.len(),
            "the sockets of the daemon before are received on"
        );
    }
    // Before binding: they may be what is in the way.
    let strangers = inherited.close_udp();
    if strangers > 0 {
        info!(
            strangers,
            "sockets that are not configured any more are given back"
        );
        systemd::forget_all();
    }
    let mut sockets = Vec::with_capacity(ports.len());
    let mut unknown = Vec::new();
    for port in ports {
        let left = left.remove(&port);
        if left.is_none() || strangers > 0 {
            unknown.push(sockets.len());
        }
        let socket = match left {
            Some(socket) => adopt(socket, rtp.receive_buffer_bytes),
            None => open(address(port), rtp.receive_buffer_bytes),
        };
        let address = address(port);
        sockets.push((
            port,
            socket.map_err(|source| BindError::Port { address, source })?,
        ));
    }
    systemd::keep(unknown.iter().map(|&index| &sockets[index].1));
    if let Some((_, socket)) = sockets.first() {
        warn_of_small_buffer(socket, rtp.receive_buffer_bytes);
    }
    Ok(sockets)
}

/// Raises the soft limit to the hard one, and gives what is in force.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() {
        raised
    } else {
        limit
    };
    in_force.current.unwrap_or(u64::MAX)
}

/// Goes on with a socket that was bound by another process, perhaps by another configuration.
fn adopt(socket: UdpSocket, receive_buffer_bytes: usize) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    if receive_buffer_bytes > 0 {
        SockRef::from(&socket).set_recv_buffer_size(receive_buffer_bytes)?;
    }
    Ok(socket)
}

fn open(address: SocketAddr, receive_buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(receive_buffer_bytes)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Every socket is given the same, so one is looked at. Linux reports twice what can be used.
fn warn_of_small_buffer(socket: &UdpSocket, asked: usize) {
    match SockRef::from(socket).recv_buffer_size() {
        Ok(reported) if reported / 2 < asked => {
            let granted = reported / 2;
            warn!(
                asked,
                granted,
                "receive buffers are smaller than asked: a burst of packets may be lost; \
                 set sysctl net.core.rmem_max to the size asked, or lower rtp.receive-buffer-bytes"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot tell the size of the receive buffers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortRange;

    #[test]
    fn only_even_ports_are_received_on_where_rtcp_comes_to_the_port_of_rtp() {
        assert_eq!(
            ports(57, false),
            [20_001, 20_002, 20_003, 20_004, 20_005, 20_006]
        );
        assert_eq!(ports(58, true), [20_002, 20_004, 20_006]);
    }

    /// Each time on an address of its own: nobody else's port is in the way, nor one that was closed and lives on for a
    /// moment in a program that another test starts.
    fn ports(host: u8, rtcp_mux: bool) -> Vec<u16> {
        let rtp = Rtp {
            bind_address: [127, 0, 61, host].into(),
            port_range: PortRange::new(20_001, 20_006),
            rtcp_mux,
            ..Rtp::default()
        };
        let sockets = bind_all(&rtp, &mut Inherited::default()).unwrap();
        sockets.into_iter().map(|(port, _)| port).collect()
    }
}
