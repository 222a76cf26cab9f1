//! Tells readers that the recogniser is away, once, and that it is back.

#![expect(
    clippy::disallowed_methods,
    reason = "an outage is watched by the clock"
)]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::event::{Body, Event};
use crate::io::provider::Provider;
use crate::io::publisher::Publisher;

/// How often it is looked after.
const ROUND: Duration = Duration::from_millis(500);

/// A recogniser that has failed for so long, and recognised nothing, is away: less is a hiccup.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches for ever.
pub async fn watch(provider: &Provider, publisher: &Publisher) -> Infallible {
    let mut failing_since = None;
    let mut told = None;
    loop {
        let now = Instant::now();
        let alarm = provider.alarm();
        if provider.status().available && alarm.is_none() {
            failing_since = None;
            if told.take().is_some() {
                publish(publisher, "asr_recovered", "the recogniser is back", None);
            }
        } else {
            let since = *failing_since.get_or_insert(now);
            let is_away = now.saturating_duration_since(since) >= PATIENCE;
            match alarm {
                Some((why, wait)) if told != Some(CREDENTIALS) => {
                    told = Some(CREDENTIALS);
                    let message = format!("nothing is recognised until this is put right: {why}");
                    publish(publisher, CREDENTIALS, &message, Some(wait));
                }
                None if is_away && told.is_none() => {
                    told = Some(UNAVAILABLE);
                    publish(publisher, UNAVAILABLE, AWAY, None);
                }
                Some(_) | None => {}
            }
        }
        sleep(ROUND).await;
    }
}

fn publish(publisher: &Publisher, code: &'static str, message: &str, wait: Option<Duration>) {
    let retry_after_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    publisher.publish(Event {
        at: jiff::Timestamp::now(),
        call_id: None,
        body: Body::Error {
            code,
            message: message.to_owned(),
            retry_after_ms,
            resume_from: None,
        },
    });
}

const CREDENTIALS: &str = "asr_credentials";
const UNAVAILABLE: &str = "asr_unavailable";
const AWAY: &str = "the recogniser is away; speech waits for it, in the spool if there is one";
