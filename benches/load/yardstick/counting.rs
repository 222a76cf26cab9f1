//! A receiver that only counts: the least that receiving can cost.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::Outcome;

/// Counts the datagrams on `ports` until standard input ends: every `tick`, or as they come.
pub(super) fn run(ports: impl Iterator<Item = u16>, tick: Option<Duration>) -> Outcome<u64> {
    let mut poll = Poll::new()?;
    let mut sockets = Vec::new();
    for port in ports {
        let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        poll.registry()
            .register(&mut socket, Token(sockets.len()), Interest::READABLE)?;
        sockets.push(socket);
    }
    let stopped = when_input_ends();
    let mut events = Events::with_capacity(1024);
    let mut received = 0;
    let mut next = Instant::now();
    while !stopped.load(Ordering::Relaxed) {
        // Level of patience: a stop is noticed within a tenth of a second.
        let mut patience = Some(Duration::from_millis(100));
        if let Some(tick) = tick {
            next += tick;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            patience = Some(Duration::ZERO);
        }
        poll.poll(&mut events, patience)?;
        for event in &events {
            received += empty(&sockets[event.token().0])?;
        }
    }
    Ok(received)
}

fn empty(socket: &UdpSocket) -> io::Result<u64> {
    let mut datagram = [0; 2048];
    let mut received = 0;
    loop {
        match socket.recv_from(&mut datagram) {
            Ok(_) => received += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(received),
            Err(error) => return Err(error),
        }
    }
}

/// A flag that is set when standard input ends.
pub(super) fn when_input_ends() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    thread::spawn(move || {
        // An error ends it as well.
        io::stdin().read_to_end(&mut Vec::new()).ok();
        flag.store(true, Ordering::Relaxed);
    });
    ended
}
