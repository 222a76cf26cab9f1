//! The UDP sockets: one a port, all bound before anything else starts.

#![expect(clippy::disallowed_types, reason = "UDP is received here")]

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
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
    let sockets = ports
        .map(|port| Ok((port, bind(rtp, port)?)))
        .collect::<Result<Vec<_>, _>>()?;
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

fn bind(rtp: &Rtp, port: u16) -> Result<UdpSocket, BindError> {
    let address = SocketAddr::new(rtp.bind_address, port);
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
                granted, "receive buffers are smaller than asked; raise net.core.rmem_max"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot tell the size of the receive buffers"),
    }
}
