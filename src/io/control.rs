//! The control API and the live page: HTTP on a Unix socket and, if configured, on a TCP port.
//!
//! Its tasks run beside the media workers, never on their threads; calls are reached by the
//! workers' own commands, so that nothing of a call is locked. Every client is bounded in
//! connections, in the size of what it sends and in the time that it takes.

#![expect(
    clippy::disallowed_types,
    reason = "the control API's sockets are here"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "slow clients are given up by the clock"
)]

mod adjustable;
mod advertised;
mod answer;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod page;
mod request;
mod routes;
mod status;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::config::File;
use crate::io::door::{Door, Listen};
use crate::io::media_worker::Command;
use crate::io::metrics::{Disks, ReceivingPorts};
use crate::io::provider::Provider;
use crate::io::publisher::Figures;
use crate::io::unix_socket::{self, Listening, Place, SocketError};
pub use adjustable::Adjustable;
use page::Page;
use page::password::{PasswordFileError, Passwords};
use routes::Api;
use workers::Workers;

/// Clients at once, on each listener; one more is turned away.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send the head of a request, or be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// A connection that is older is closed after the request that it is at.
const CONNECTION_TIME: Duration = Duration::from_secs(600);

/// How long the last answer of a connection may take to be read.
const LAST_ANSWER_TIME: Duration = Duration::from_secs(2);

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Why the control API cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The Unix socket cannot be listened on.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The password file lets nobody in.
    #[error(transparent)]
    Passwords(#[from] PasswordFileError),
    /// The TCP address cannot be listened on.
    #[error("cannot listen on {address}: {source}; free the port or change control.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The running control API.
#[derive(Debug)]
pub struct ControlServer {
    listeners: JoinSet<()>,
    closing: watch::Sender<bool>,
    ours: Option<PathBuf>,
    adjustable: Adjustable,
    /// Where it listens on TCP, if it does.
    pub address: Option<SocketAddr>,
}

/// Starts the control API, on the Unix socket that was passed on if one was; `workers` are where the commands of each
/// media worker go, and `recogniser` and `publisher` are for the metrics. Needs a Tokio runtime.
///
/// # Errors
/// When a socket cannot be listened on.
pub fn start(
    config: &File,
    workers: Vec<mpsc::Sender<Command>>,
    recogniser: Arc<Provider>,
    publisher: Arc<Figures>,
    disks: Disks,
    passed: Option<std::os::unix::net::UnixListener>,
) -> Result<ControlServer, ControlError> {
    let socket = config.control_socket();
    let refused = |source| SocketError::Refused {
        path: config.control_socket(),
        key: SOCKET_KEY,
        source,
    };
    let place = Place {
        path: &socket,
        mode: config.control.socket_mode,
        group: config.control.socket_group.as_deref(),
        key: SOCKET_KEY,
    };
    let Listening { listener, ours } = unix_socket::listen(place, passed)?;
    let unix = UnixListener::from_std(listener).map_err(refused)?;
    let tcp = config.control.listen.map(listen).transpose()?;
    let address = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());

    let adjustable = Adjustable::new(config);
    let api = Arc::new(Api {
        workers: Workers::new(workers),
        adjustable: adjustable.clone(),
        recogniser,
        publisher,
        disks,
        ports: ReceivingPorts {
            address: config.rtp.bind_address,
            range: config.rtp.port_range.clone(),
        },
        started: Instant::now(),
    });
    let (closing, is_closing) = watch::channel(false);
    let page = Page::new(config, Arc::clone(&api), is_closing.clone());
    let router = routes::router(api).merge(page::router(page));
    let mut listeners = JoinSet::new();
    if let Some(tcp) = tcp {
        let router = guard(router.clone(), config)?;
        listeners.spawn(accept(
            Door::new(tcp, "clients of the control API on TCP"),
            router,
            is_closing.clone(),
        ));
    }
    listeners.spawn(accept(
        Door::new(unix, "clients of the control API"),
        router,
        is_closing,
    ));
    Ok(ControlServer {
        listeners,
        closing,
        ours,
        adjustable,
        address,
    })
}

impl ControlServer {
    /// What it goes by of the configuration.
    pub fn adjustable(&self) -> Adjustable {
        self.adjustable.clone()
    }

    /// Answers what has been asked, then closes.
    pub async fn stop(mut self) {
        self.closing.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
        Listening::remove(self.ours.as_deref());
    }
}

/// Who may use the TCP listener: whoever has a password, or else who is on this host and no web page.
fn guard(router: Router, config: &File) -> Result<Router, ControlError> {
    let Some(path) = &config.control.password_file else {
        return Ok(router.layer(middleware::from_fn(routes::refuse_browsers)));
    };
    let passwords = Passwords::open(path.clone())?;
    let require = middleware::from_fn_with_state(passwords, page::password::require);
    Ok(router.layer(require))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ControlError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|source| ControlError::Listen { address, source })
}

async fn accept<L>(mut door: Door<L>, router: Router, mut closing: watch::Receiver<bool>)
where
    L: Listen,
    L::Client: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            stream = door.client() => {
                if clients.len() < MAX_CONNECTIONS {
                    clients.spawn(converse(stream, router.clone(), closing.clone()));
                } else {
                    info!(MAX_CONNECTIONS, "turned a client of the control API away");
                }
            }
            Some(_) = clients.join_next() => {}
            _ = closing.changed() => break,
        }
    }
    while clients.join_next().await.is_some() {}
}

async fn converse<S>(stream: S, router: Router, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => {
            if let Err(error) = outcome {
                debug!(%error, "a client of the control API was given up");
            }
            return;
        }
        _ = closing.changed() => {}
        () = sleep(CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Who does not read the last answer in time goes without.
    drop(timeout(LAST_ANSWER_TIME, connection).await);
}

const SOCKET_KEY: &str = "control.socket";
