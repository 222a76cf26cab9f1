//! A worker's connections between and after sessions: kept for the next part, or closed politely.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::idle::Place;
use super::provider::Connection;
use super::websocket::Event;

/// The connections of one thread that no session uses.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    /// Who wants one hands in where to send it.
    idle: Rc<RefCell<Vec<oneshot::Sender<oneshot::Sender<Connection>>>>>,
    tasks: Rc<RefCell<JoinSet<()>>>,
}

impl Connections {
    /// An idle connection that is still open, the last used first.
    pub(super) async fn take(&self) -> Option<Connection> {
        loop {
            let keeper = self.idle.borrow_mut().pop()?;
            let (give, given) = oneshot::channel();
            if keeper.send(give).is_ok()
                && let Ok(connection) = given.await
            {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose session ended well for another one.
    pub(super) fn keep(&self, connection: Connection, place: Place) {
        let (keeper, wanted) = oneshot::channel();
        let mut keepers = self.idle.borrow_mut();
        keepers.retain(|keeper| !keeper.is_closed());
        keepers.push(keeper);
        self.spawn(wait(connection, place, wanted));
    }

    /// Closes a connection, which may be broken, without waiting for it.
    pub(super) fn give_up(&self, connection: Connection) {
        self.spawn(connection.socket.close(CLOSE_TIMEOUT));
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        if tasks.len() < MAX_TASKS {
            tasks.spawn_local(task);
        }
    }
}

/// Answers pings on an idle connection until somebody wants it, it ends, or its time is over.
async fn wait(
    mut connection: Connection,
    place: Place,
    mut wanted: oneshot::Receiver<oneshot::Sender<Connection>>,
) {
    let end = sleep(place.patience);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            event = connection.socket.next() => match event {
                Event::Heard | Event::Flushed => {}
                // The service has nothing to say between two sessions.
                Event::Text(_) => break,
                Event::Ended(_) => return,
            },
            wanted = &mut wanted => {
                if let Ok(give) = wanted {
                    // Who asked may be gone; the connection then goes with it.
                    drop(give.send(connection));
                }
                return;
            }
            () = &mut end => break,
            () = place.needed() => break,
        }
    }
    drop((place, wanted));
    connection.socket.close(CLOSE_TIMEOUT).await;
}

/// How long a peer has to answer a close; nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that idle or are being closed; one more is simply dropped.
const MAX_TASKS: usize = 1_024;
