//! Connections to the service: TCP, a proxy's tunnel, TLS.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the shell connects and waits"
)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::http::{Reply, exchange};
use crate::asr::endpoint::Endpoint;
use crate::asr::failure::{Failure, Step};

/// A connection, encrypted or not.
pub type Stream = Box<dyn Socket>;

/// What a connection can do.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Socket for T {}

/// Makes connections; one for the whole daemon, since it holds the certificates.
#[derive(Clone, Debug)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
    timeout: Duration,
}

/// An HTTP proxy that makes tunnels (RFC 9110 §9.3.6).
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it is, by [`Endpoint::web`].
    pub address: Endpoint,
    /// `user:password`, if it asks for one.
    pub credentials: Option<SecretString>,
}

impl Connector {
    /// A connector that trusts the system's roots, or those of `ca_file` alone, goes through a
    /// proxy if there is one, and gives a connection `timeout` to come about, TLS included.
    ///
    /// # Errors
    /// When there is no certificate to trust.
    pub fn new(
        ca_file: Option<&Path>,
        proxy: Option<Proxy>,
        timeout: Duration,
    ) -> Result<Self, TrustError> {
        let roots = match ca_file {
            Some(path) => roots_of(path)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(tls),
            proxy,
            timeout,
        })
    }

    /// Connects.
    ///
    /// # Errors
    /// With the step that failed or took too long.
    pub async fn connect(&self, to: &Endpoint) -> Result<Stream, Failure> {
        let deadline = Instant::now() + self.timeout;
        let stream = match &self.proxy {
            Some(proxy) => proxy.tunnel(to, deadline).await?,
            None => Box::new(connect_tcp(to, deadline).await?),
        };
        match to.is_tls() {
            true => self.encrypt(stream, to, deadline).await,
            false => Ok(stream),
        }
    }

    async fn encrypt(
        &self,
        stream: Stream,
        to: &Endpoint,
        deadline: Instant,
    ) -> Result<Stream, Failure> {
        let name = ServerName::try_from(to.host().to_owned());
        let name = name.map_err(|error| unreachable(to, Step::Tls, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let handshake = connector.connect(name, stream);
        Ok(Box::new(bounded(to, Step::Tls, deadline, handshake).await?))
    }
}

impl Proxy {
    /// A connection to `to` through the proxy.
    async fn tunnel(&self, to: &Endpoint, deadline: Instant) -> Result<Stream, Failure> {
        let failed = |detail: &str| unreachable(&self.address, Step::Proxy, detail);
        let stream = connect_tcp(&self.address, deadline).await?;
        let request = self
            .request(to)
            .map_err(|error| failed(&error.to_string()))?;
        let reply = timeout_at(deadline, exchange(Box::new(stream), request)).await;
        match reply.map_err(|_| failed("timed out"))? {
            Ok(Reply::Switched { stream, ahead, .. }) if ahead.is_empty() => Ok(stream),
            Ok(Reply::Switched { .. }) => Err(failed("data before our own in the tunnel")),
            Ok(Reply::Answered { status, .. }) => Err(failed(&format!("refused with {status}"))),
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    fn request(&self, to: &Endpoint) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let host = match to.host().contains(':') {
            true => format!("[{}]:{}", to.host(), to.port()),
            false => format!("{}:{}", to.host(), to.port()),
        };
        let mut request = Request::connect(&host).header(HOST, &host);
        if let Some(credentials) = &self.credentials {
            let encoded = BASE64.encode(credentials.expose_secret().as_bytes());
            let mut value = HeaderValue::try_from(format!("Basic {encoded}"))?;
            value.set_sensitive(true);
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        request.body(Full::default())
    }
}

async fn connect_tcp(to: &Endpoint, deadline: Instant) -> Result<TcpStream, Failure> {
    let name = (to.host(), to.port());
    let addresses: Vec<SocketAddr> =
        bounded(to, Step::Resolve, deadline, tokio::net::lookup_host(name))
            .await?
            .collect();
    let mut last = unreachable(to, Step::Resolve, "the name has no address");
    for (n, address) in addresses.iter().enumerate() {
        // An address that swallows packets leaves time for those behind it.
        let left = u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let until = Instant::now() + share;
        match bounded(to, Step::Connect, until, TcpStream::connect(address)).await {
            Ok(stream) => {
                prepare(&stream).map_err(|error| unreachable(to, Step::Connect, error))?;
                return Ok(stream);
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Fragments go out at once, and the kernel keeps little for a peer that does not read: the audio
/// is with the part already.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_send_buffer_size(SEND_BUFFER)
}

/// Four seconds of PCM; at 50 ms of round trip that still carries a replay at 80 times its pace.
const SEND_BUFFER: usize = 64 << 10;

/// Runs one step of a connection until the deadline.
async fn bounded<T>(
    to: &Endpoint,
    step: Step,
    deadline: Instant,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    match timeout_at(deadline, work).await {
        Ok(done) => done.map_err(|error| unreachable(to, step, error)),
        Err(_) => Err(unreachable(to, step, "timed out")),
    }
}

fn unreachable(to: &Endpoint, step: Step, detail: impl ToString) -> Failure {
    Failure::Unreachable {
        address: format!("{}:{}", to.host(), to.port()),
        step,
        detail: detail.to_string(),
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, TrustError> {
    let unreadable = |error: rustls::pki_types::pem::Error| TrustError::Unreadable {
        path: path.into(),
        detail: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    match roots.is_empty() {
        true => Err(TrustError::Empty(path.into())),
        false => Ok(roots),
    }
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "system root certificate not read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(TrustError::NoSystemRoots),
        false => Ok(roots),
    }
}

/// Why no server can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read as PEM.
    #[error("ca file {}: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file has no certificate.
    #[error("ca file {} has no certificate in it", .0.display())]
    Empty(PathBuf),
    /// The system has no roots.
    #[error("this system has no root certificates; install ca-certificates or name a ca file")]
    NoSystemRoots,
    /// A certificate or the TLS library is not usable.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}
