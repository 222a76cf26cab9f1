//! Listens, shakes hands, and runs each connection until it ends.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the shell of the service: sockets, clocks and waiting"
)]

mod answer;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::config::{EngineConfig, ServiceConfig};
use super::connection;
use super::counters::Counters;
use super::engine::Engine;
use super::engine::scripted::Scripted;
#[cfg(feature = "whisper")]
use super::engine::whisper::{LoadError, Whisper};
use super::fault::Faults;
use super::gate::Gate;
use super::rules::{Rules, Seats};

/// A service that is listening; dropping it ends every connection at once.
pub struct RunningService {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

/// What every connection of a service shares.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) rules: Arc<Rules>,
    pub(super) seats: Seats,
    pub(super) counters: Counters,
    pub(super) faults: Faults,
    gate: Mutex<Gate>,
    /// Starts the trace ids of this run: engine and start time.
    pub(super) name: String,
    max_connections: usize,
    tls: Option<TlsAcceptor>,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot get random numbers from the system")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    /// The recogniser cannot be used.
    #[cfg(feature = "whisper")]
    #[error(transparent)]
    Engine(#[from] LoadError),
}

/// Starts a service on the current tokio runtime.
///
/// # Errors
/// When the address is taken, or the engine cannot be loaded.
pub async fn start(config: ServiceConfig) -> Result<RunningService, StartError> {
    let engine = match config.engine {
        EngineConfig::Scripted(script) => Engine::Scripted(Scripted::new(script)),
        #[cfg(feature = "whisper")]
        EngineConfig::Whisper(whisper) => Engine::Whisper(Whisper::load(&whisper)?),
    };
    let listen_error = |source| StartError::Listen {
        addr: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(listen_error)?;
    let addr = listener.local_addr().map_err(listen_error)?;
    let shared = Arc::new(Shared {
        name: run_name(engine.name()),
        engine,
        rules: Arc::new(config.rules),
        seats: Seats::new(config.max_sessions),
        counters: Counters::default(),
        faults: Faults::new(config.faults),
        gate: Mutex::new(Gate::new(config.credentials, &random_secret()?)),
        max_connections: config.max_connections,
        tls: config.tls.map(TlsAcceptor::from),
    });
    let (stopping, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, Arc::clone(&shared), stopped));
    Ok(RunningService {
        addr,
        shared,
        stopping,
        accepting,
    })
}

impl RunningService {
    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The faults in force.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The engine's name, as it starts every trace id.
    pub fn engine(&self) -> &str {
        self.shared.engine.name()
    }

    /// Takes no more connections, lets open sessions finish for `grace`, then ends.
    pub async fn stop(mut self, grace: Duration) {
        self.stopping.send_replace(true);
        if timeout(grace, self.accepting.join_next()).await.is_err() {
            debug!("connections still open after the grace time; dropping them");
        }
    }
}

/// What the tokens of this run are sealed with.
fn random_secret() -> Result<[u8; 32], aws_lc_rs::error::Unspecified> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(secret)
}

/// The engine and the start time in hexadecimal milliseconds: no two runs share a trace id.
fn run_name(engine: &str) -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{engine}-{:x}", since_epoch.as_millis())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    debug!(%peer, "accepted");
                    connections.spawn(serve_tcp(stream, Arc::clone(&shared), stopped.clone()));
                }
                // Out of file descriptors, or a peer that left in the queue: neither ends the
                // service.
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_tcp(stream: TcpStream, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let Some(acceptor) = &shared.tls else {
        return serve(stream, shared, stopped).await;
    };
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, shared, stopped).await,
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake timed out"),
    }
}

/// Serves HTTP until the peer leaves or is upgraded, and then its WebSocket.
async fn serve<S>(stream: S, shared: Arc<Shared>, stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgrade = Mutex::new(None);
    let answer = service_fn(|request| answer::answer(request, &shared, &upgrade));
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::select! {
        served = http => if let Err(error) = served {
            debug!(%error, "HTTP connection failed");
        },
        () = asked_to_stop(stopped.clone()) => {}
    }
    let upgrade: Option<OnUpgrade> = upgrade.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(upgrade) = upgrade {
        match upgrade.await {
            Ok(upgraded) => connection::run(TokioIo::new(upgraded), shared, stopped).await,
            Err(error) => debug!(%error, "upgrade failed"),
        }
    }
}

/// Resolves when the service is to stop.
pub(super) async fn asked_to_stop(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    drop(stopped.wait_for(|&stopping| stopping).await);
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
