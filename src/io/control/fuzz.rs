//! What must hold for every request of the control API: the body of the fuzz target.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::io::control::request::{CallChange, NewCall, parse};
use crate::media::receiver::ExpectedSource;

/// Reads a body, as that of `POST` and as that of `PATCH`.
///
/// # Panics
///
/// If a call is registered that nobody could name, or with a source that is never heard.
pub fn requests(input: &[u8]) {
    let allowed: Vec<IpNet> = vec![IpAddr::from([127, 0, 0, 1]).into()];
    if let Ok(call) = parse::<NewCall>(input)
        && let Ok(call) = call.registration(|| Arc::from("made"), &allowed)
    {
        assert!(!call.id.is_empty() && !call.id.contains('/'), "{}", call.id);
        assert!(!call.legs.is_empty());
        let sources = call.legs.iter().map(|leg| leg.expected_source);
        assert!(sources.into_iter().all(|source| is_heard(source, &allowed)));
    }
    if let Ok(change) = parse::<CallChange>(input)
        && let Ok(update) = change.update(&allowed)
    {
        let mut sources = update.expected_sources.iter();
        assert!(sources.all(|&(_, source)| is_heard(source, &allowed)));
    }
}

fn is_heard(source: ExpectedSource, allowed: &[IpNet]) -> bool {
    let host = match source {
        ExpectedSource::Any => return true,
        ExpectedSource::Host(host) => host,
        ExpectedSource::Address(address) => address.ip(),
    };
    allowed
        .iter()
        .any(|network| network.contains(&host.to_canonical()))
}
