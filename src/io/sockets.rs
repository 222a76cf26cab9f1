//! The UDP sockets: one a port, all bound before anything else starts.

#![expect(clippy::disallowed_types, reason = "UDP is received here")]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use crate::config::file::Rtp;

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
         limit (LimitNOFILE= of the unit, `ulimit -n`) or narrow the range"
    )]
    TooManyPorts {
        /// Ports of the range.
        ports: u64,
        /// The hard limit.
        limit: u64,
    },
}

/// Binds every port of the range, lowest first.
///
/// # Errors
/// When one cannot be bound, or the process may not have so many descriptors.
pub fn bind_all(rtp: &Rtp) -> Result<Vec<(u16, UdpSocket)>, BindError> {
    let ports = rtp.port_range.ports();
    let needed = ports.len() as u64 + OTHER_DESCRIPTORS;
    let limit = raise_descriptor_limit();
    if limit < needed {
        return Err(BindError::TooManyPorts {
            ports: ports.len() as u64,
            limit,
        });
    }
    let sockets = ports.map(|port| Ok((port, bind(rtp.bind_address, port, rtp)?)));
    sockets.collect()
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

fn bind(address: IpAddr, port: u16, rtp: &Rtp) -> Result<UdpSocket, BindError> {
    let address = SocketAddr::new(address, port);
    open(address, rtp.receive_buffer_bytes).map_err(|source| BindError::Port { address, source })
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
        // Linux gives twice what is asked for, up to net.core.rmem_max.
        let granted = socket.recv_buffer_size()? / 2;
        if granted < receive_buffer_bytes && address.port() % 100 == 0 {
            warn!(
                asked = receive_buffer_bytes,
                granted, "the kernel gives smaller receive buffers; raise net.core.rmem_max"
            );
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
