//! A call that somebody announces: what is known of it before it has ports.

use std::sync::Arc;
use std::time::Duration;

use crate::call::conversation::CallSpec;
use crate::call::leg::LegSpec;
use crate::call::switchboard::PortIndex;
use crate::event::{Direction, Metadata, Role, RoleSource};
use crate::media::Law;
use crate::media::receiver::ExpectedSource;

/// A call to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Names the call to readers.
    pub id: Arc<str>,
    /// Its legs, in the order of their channel numbers.
    pub legs: Vec<AnnouncedLeg>,
    /// Calling party, if known.
    pub from: Option<String>,
    /// Called party, if known.
    pub to: Option<String>,
    /// Who called whom, if known.
    pub direction: Option<Direction>,
    /// Passed on to readers untouched.
    pub metadata: Metadata,
}

/// A leg of a call to be registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedLeg {
    /// Whose voice it carries, if known.
    pub role: Option<Role>,
    /// The law, if known; payload types decide what is decoded.
    pub law: Option<Law>,
    /// Who may send it.
    pub expected_source: ExpectedSource,
}

impl Registration {
    /// The call on these ports, one a leg.
    pub fn on_ports(self, ports: &[PortIndex], idle_timeout: Duration) -> CallSpec {
        let leg = |(leg, &port): (&AnnouncedLeg, &PortIndex)| LegSpec {
            port,
            role: leg.role,
            role_source: match leg.role {
                Some(_) => RoleSource::Registered,
                None => RoleSource::Unknown,
            },
            law: leg.law,
            expected_source: leg.expected_source,
        };
        CallSpec {
            id: self.id,
            legs: self.legs.iter().zip(ports).map(leg).collect(),
            from: self.from,
            to: self.to,
            direction: self.direction,
            metadata: self.metadata,
            idle_timeout,
            is_registered: true,
        }
    }
}
