//! The way to the recogniser, one step after the other: for whoever asks where it ends.
#![expect(clippy::disallowed_methods, reason = "each step is timed")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{DATE, HOST};
use tokio::time::timeout;

use super::Provider;
use crate::asr::endpoint::Endpoint;
use crate::asr::failure::{Failure, Step};
use crate::io::http::{Reply, exchange};
use crate::io::transport::Stream;
use crate::io::websocket::WebSocket;

/// What was found on the way; steps behind the first that failed are not there.
#[derive(Debug)]
pub struct Examination {
    /// The steps that were tried, in their order.
    pub steps: Vec<Finding>,
    /// How far the service's clock is from ours, in seconds: positive when ours is behind.
    pub clock_skew: Option<i64>,
}

/// One step.
#[derive(Debug)]
pub struct Finding {
    /// `dns`, `tcp`, `proxy`, `tls`, `token` or `handshake`.
    pub step: &'static str,
    /// How it went: what was found, or what failed.
    pub outcome: Result<String, Failure>,
}

impl Provider {
    /// Goes the way to an open WebSocket step by step, with the credentials in force, and hangs up.
    /// No session is begun, so nothing is billed.
    pub async fn examine(&self) -> Examination {
        let mut examination = Examination {
            steps: Vec::new(),
            clock_skew: None,
        };
        if let Err(finding) = self.walk(&mut examination).await {
            examination.steps.push(finding);
        }
        examination
    }

    async fn walk(&self, examination: &mut Examination) -> Result<(), Finding> {
        let access = self.access();
        let endpoint = &access.settings.endpoint;
        let stream = self.reach(examination).await?;
        examination.clock_skew = clock_skew(stream, endpoint).await;
        let failed = |failure| Finding::new("token", Err(failure));
        let authenticator = &access.authenticator;
        authenticator.prepare().await.map_err(failed)?;
        let pass = authenticator.pass().await.map_err(failed)?;
        let found = match access.authenticator.token_life() {
            Some(life) => format!("there is a token, good for {} s", life.as_secs()),
            None => access.settings.credentials.describe().to_owned(),
        };
        examination.steps.push(Finding::new("token", Ok(found)));

        let failed = |failure| Finding::new("handshake", Err(failure));
        let stream = access.connector.connect(endpoint).await.map_err(failed)?;
        let (limit, begun) = (access.settings.upgrade_timeout, Instant::now());
        let headers = pass.headers().clone();
        let upgraded = WebSocket::upgrade(stream, endpoint, headers, limit).await;
        let socket = upgraded.map_err(|failure| failed(pass.redact(failure)))?;
        let found = format!("the service opened a WebSocket in {}", ms(begun));
        examination.steps.push(Finding::new("handshake", Ok(found)));
        socket.close(CLOSE_TIME).await;
        Ok(())
    }

    /// Name, TCP, proxy and TLS.
    async fn reach(&self, examination: &mut Examination) -> Result<Stream, Finding> {
        let access = self.access();
        let endpoint = &access.settings.endpoint;
        let proxy = access.settings.proxy.as_ref().map(|proxy| &proxy.address);
        let first = proxy.unwrap_or(endpoint);
        let begun = Instant::now();
        let connected = access.connector.connect(endpoint).await;
        let end = match &connected {
            Ok(_) => None,
            Err(Failure::Unreachable { step, .. }) => Some(*step),
            Err(_) => Some(Step::Resolve),
        };
        let passed = |step: Step| end.is_none_or(|end| end as u8 > step as u8);
        let address = format!("{}:{}", first.host(), first.port());
        if passed(Step::Resolve) {
            let found = format!("{} is {}", first.host(), addresses(first).await);
            examination.steps.push(Finding::new("dns", Ok(found)));
        }
        if passed(Step::Connect) {
            let found = format!("{address} accepts connections");
            examination.steps.push(Finding::new("tcp", Ok(found)));
        }
        if proxy.is_some() && passed(Step::Proxy) {
            let found = format!("the proxy {address} made a tunnel");
            examination.steps.push(Finding::new("proxy", Ok(found)));
        }
        if endpoint.is_tls() && passed(Step::Tls) {
            let found = format!("the certificate of {} is trusted", endpoint.host());
            examination.steps.push(Finding::new("tls", Ok(found)));
        }
        tracing::debug!(elapsed = %ms(begun), "connected for an examination");
        connected.map_err(|failure| Finding::new(word(end.unwrap_or(Step::Resolve)), Err(failure)))
    }
}

impl Finding {
    const fn new(step: &'static str, outcome: Result<String, Failure>) -> Self {
        Self { step, outcome }
    }
}

const fn word(step: Step) -> &'static str {
    match step {
        Step::Resolve => "dns",
        Step::Connect => "tcp",
        Step::Proxy => "proxy",
        Step::Tls => "tls",
        Step::Request => "handshake",
    }
}

async fn addresses(of: &Endpoint) -> String {
    match tokio::net::lookup_host((of.host(), of.port())).await {
        Ok(found) => {
            let found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            found.join(", ")
        }
        Err(error) => error.to_string(),
    }
}

/// Compares clocks by an ordinary request, which is answered whatever it thinks of it; the answer's
/// date has no fractions of a second.
async fn clock_skew(stream: Stream, endpoint: &Endpoint) -> Option<i64> {
    let request = Request::get("/")
        .header(HOST, endpoint.authority())
        .body(Full::<Bytes>::default())
        .ok()?;
    let reply = timeout(DATE_TIME, exchange(stream, request)).await.ok()?;
    let (Reply::Answered { headers, .. } | Reply::Switched { headers, .. }) = reply.ok()?;
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(theirs.as_second() - jiff::Timestamp::now().as_second())
}

fn ms(since: Instant) -> String {
    format!("{} ms", since.elapsed().as_millis())
}

/// How long an ordinary request may take.
const DATE_TIME: Duration = Duration::from_secs(3);

/// How long the service has to answer the close.
const CLOSE_TIME: Duration = Duration::from_secs(1);
