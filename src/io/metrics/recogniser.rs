//! How the recogniser fares: sessions, failures, quota, credentials.

use std::fmt;

use super::page::Page;
use crate::asr::failure::FailureKind;
use crate::io::provider::{Provider, Status};

pub(super) fn encode(provider: &Provider, page: &mut Page<'_>) -> fmt::Result {
    let status = provider.status();
    encode_sessions(&status, page)?;
    encode_parts(&status, page)?;
    page.gauge(
        "callscribe_recogniser_available",
        "1 while the last thing that happened was a text, 0 while it was a failure",
        f64::from(u8::from(status.available)),
    )?;
    page.gauge(
        "callscribe_recogniser_halted",
        "1 while nothing is tried, because a person must put something right",
        f64::from(u8::from(provider.alarm().is_some())),
    )?;
    page.counter(
        "callscribe_tokens",
        "Tokens that were had",
        provider.tokens() as f64,
    )?;
    // Without a lifetime there is nothing to show: zero would be an alarm.
    if let Some(life) = provider.token_life() {
        page.gauge(
            "callscribe_token_remaining_seconds",
            "How much longer the token in use is good for",
            life.as_secs_f64(),
        )?;
    }
    Ok(())
}

fn encode_sessions(status: &Status, page: &mut Page<'_>) -> fmt::Result {
    page.gauge(
        "callscribe_sessions_open",
        "Sessions that are open or being opened",
        f64::from(status.quota.in_use),
    )?;
    page.gauge(
        "callscribe_sessions_waiting",
        "Parts that wait for a session",
        f64::from(status.quota.waiting),
    )?;
    page.gauge(
        "callscribe_sessions_limit",
        "Sessions there may be at present",
        f64::from(status.quota.limit),
    )?;
    page.counter(
        "callscribe_sessions",
        "Sessions begun; each is billed",
        status.sessions as f64,
    )?;
    page.counter(
        "callscribe_replays",
        "Those of them that ran a part once more",
        status.replays as f64,
    )?;
    let failures = FailureKind::ALL.iter().zip(status.failures);
    page.counters(
        "callscribe_session_failures",
        "Tries that gave no text",
        "reason",
        failures.map(|(kind, count)| (kind.name(), count as f64)),
    )?;
    page.counter(
        "callscribe_quota_refusals",
        "Sessions that the service refused for want of quota",
        status.quota.refusals as f64,
    )
}

fn encode_parts(status: &Status, page: &mut Page<'_>) -> fmt::Result {
    page.counter(
        "callscribe_parts_recognised",
        "Parts that the recogniser gave a text for",
        status.recognised as f64,
    )?;
    page.counter(
        "callscribe_parts_given_up",
        "Parts that it was tried for in vain",
        status.given_up as f64,
    )
}
