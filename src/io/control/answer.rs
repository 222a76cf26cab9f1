//! What clients get.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;

use super::advertised::Routes;
use crate::call::snapshot::{CallFacts, CallSnapshot, LegSnapshot};
use crate::event::CallEnded;

/// A call and where its legs are to be sent.
#[derive(Debug, Serialize)]
pub(super) struct CallAnswer {
    #[serde(flatten)]
    call: CallFacts,
    legs: Vec<LegAnswer>,
}

/// A leg and where it is to be sent.
#[derive(Debug, Serialize)]
struct LegAnswer {
    /// `IP:PORT`, IPv6 in brackets.
    address: SocketAddr,
    ip: IpAddr,
    #[serde(flatten)]
    leg: LegSnapshot,
}

/// `GET /v1/calls`
#[derive(Debug, Serialize)]
pub(super) struct CallList {
    pub(super) calls: Vec<CallAnswer>,
}

/// A call that has ended, with its last words recognised.
#[derive(Debug, Serialize)]
pub(super) struct EndedCall {
    pub(super) id: Arc<str>,
    #[serde(flatten)]
    pub(super) ended: CallEnded,
}

/// A call whose last words are still being recognised.
#[derive(Debug, Serialize)]
pub(super) struct EndingCall {
    pub(super) id: Arc<str>,
    pub(super) state: &'static str,
}

impl CallAnswer {
    pub(super) fn new(snapshot: CallSnapshot, routes: &mut Routes<'_>) -> Self {
        let leg = |leg: LegSnapshot| {
            let ip = routes.address_for(&leg);
            LegAnswer {
                address: SocketAddr::new(ip, leg.channel.local_port),
                ip,
                leg,
            }
        };
        Self {
            legs: snapshot.legs.into_iter().map(leg).collect(),
            call: snapshot.call,
        }
    }
}
