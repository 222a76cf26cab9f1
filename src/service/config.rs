//! What the service is told at its start.

use std::net::SocketAddr;
use std::sync::Arc;

use super::engine::scripted::Script;
#[cfg(feature = "whisper")]
use super::engine::whisper::WhisperConfig;
use super::rules::Rules;

/// The configuration of a service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Certificate and key, for `wss`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What recognises.
    pub engine: EngineConfig,
    /// Limits and manners of each connection.
    pub rules: Rules,
    /// Connections open at once; the next handshake is refused with 429.
    pub max_connections: usize,
    /// Sessions open at once; the next START is refused with `SIS.0312`.
    pub max_sessions: usize,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            engine: EngineConfig::Scripted(Script::default()),
            rules: Rules::default(),
            max_connections: 10_000,
            max_sessions: 10_000,
        }
    }
}

/// The choice of engine.
#[derive(Clone, Debug)]
pub enum EngineConfig {
    /// Says what its script says.
    Scripted(Script),
    /// Recognises.
    #[cfg(feature = "whisper")]
    Whisper(WhisperConfig),
}
