//! What the control API goes by of the configuration, and may be given anew while it runs.

#![expect(
    clippy::disallowed_methods,
    reason = "the age of the configuration is told"
)]

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use ipnet::IpNet;

use super::advertised::Advertised;
use crate::config::File;

/// What may change; every request looks at it once.
#[derive(Clone, Debug)]
pub struct Adjustable(Arc<RwLock<Arc<InForce>>>);

/// What is in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) advertised: Advertised,
    pub(super) allowed_sources: Vec<IpNet>,
    /// When the configuration was read.
    pub(super) since: Instant,
}

impl Adjustable {
    pub(super) fn new(config: &File) -> Self {
        Self(Arc::new(RwLock::new(InForce::new(config))))
    }

    /// Goes on with another configuration.
    pub fn adopt(&self, config: &File) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = InForce::new(config);
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl InForce {
    fn new(config: &File) -> Arc<Self> {
        Arc::new(Self {
            advertised: Advertised::new(&config.rtp),
            allowed_sources: config.rtp.allowed_sources.clone(),
            since: Instant::now(),
        })
    }
}
