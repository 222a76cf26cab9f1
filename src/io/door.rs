//! Letting clients in while the process may run out of descriptors: told once, waited out, and nobody else waits with it.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "clients come by sockets, and a door rests by the clock"
)]

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// How long nobody is accepted after it has failed: who waits stays in the listener's queue, and would be tried again
/// and again.
const REST: Duration = Duration::from_millis(500);

/// A listener, and how it fares.
#[derive(Debug)]
pub struct Door<L> {
    listener: L,
    /// Who comes in by it, for the log.
    clients: &'static str,
    rests_until: Option<Instant>,
    is_stuck: bool,
}

/// What clients come in by.
pub trait Listen {
    /// A client's connection.
    type Client;

    /// The next client.
    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Client>>;
}

impl<L: Listen> Door<L> {
    /// A door for these clients.
    pub const fn new(listener: L, clients: &'static str) -> Self {
        Self {
            listener,
            clients,
            rests_until: None,
            is_stuck: false,
        }
    }

    /// The next client. May be cancelled.
    pub async fn client(&mut self) -> L::Client {
        loop {
            if let Some(until) = self.rests_until {
                sleep_until(until).await;
                self.rests_until = None;
            }
            match poll_fn(|cx| self.listener.poll_client(cx)).await {
                Ok(client) => {
                    if std::mem::take(&mut self.is_stuck) {
                        info!(clients = self.clients, "clients are let in again");
                    }
                    return client;
                }
                // That one has left already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_stuck, true) {
                        warn!(
                            clients = self.clients, %error,
                            "clients cannot be let in and wait; calls and those who are in go on"
                        );
                    }
                    self.rests_until = Some(Instant::now() + REST);
                }
            }
        }
    }
}

impl Listen for UnixListener {
    type Client = UnixStream;

    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.poll_accept(cx).map_ok(|(client, _)| client)
    }
}

impl Listen for TcpListener {
    type Client = TcpStream;

    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        self.poll_accept(cx).map_ok(|(client, _)| client)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    /// Gives these answers, one a question.
    struct Scripted(RefCell<VecDeque<io::Result<u8>>>);

    impl Listen for Scripted {
        type Client = u8;

        fn poll_client(&self, _: &mut Context<'_>) -> Poll<io::Result<u8>> {
            self.0
                .borrow_mut()
                .pop_front()
                .map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn no_descriptor() -> io::Result<u8> {
        Err(io::Error::from_raw_os_error(24))
    }

    #[tokio::test]
    async fn door_rests_after_it_has_failed_even_if_it_is_asked_anew() {
        let answers = [no_descriptor(), no_descriptor(), Ok(1), Ok(2)];
        let mut door = Door::new(Scripted(RefCell::new(answers.into())), "readers");
        let begun = Instant::now();
        let first = loop {
            let asked = tokio::time::timeout(Duration::from_millis(7), door.client()).await;
            if let Ok(client) = asked {
                break client;
            }
        };
        assert_eq!(first, 1);
        assert!(begun.elapsed() >= 2 * REST, "{:?}", begun.elapsed());
        assert_eq!(door.client().await, 2);
        assert!(begun.elapsed() < 3 * REST);
    }

    #[tokio::test]
    async fn client_that_left_at_once_costs_the_next_no_time() {
        let gone = Err(io::ErrorKind::ConnectionAborted.into());
        let mut door = Door::new(Scripted(RefCell::new([gone, Ok(1)].into())), "readers");
        let begun = Instant::now();
        assert_eq!(door.client().await, 1);
        assert!(begun.elapsed() < REST);
    }
}
