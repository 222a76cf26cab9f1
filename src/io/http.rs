//! One HTTP/1.1 request on a connection: a WebSocket upgrade, a tunnel through a proxy, a token.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::transport::Stream;

/// What came of a request.
#[derive(Debug)]
pub enum Reply {
    /// The connection is no longer HTTP: an upgrade, or a tunnel.
    Switched {
        /// The headers of the answer.
        headers: HeaderMap,
        /// The connection.
        stream: Stream,
        /// What was read behind the answer.
        ahead: Bytes,
    },
    /// An ordinary answer.
    Answered {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: HeaderMap,
        /// The body; empty where it was too long or did not come.
        body: Bytes,
    },
}

/// Sends a request and takes the answer. Give it a time-out.
///
/// # Errors
/// When the connection fails or the answer is not HTTP/1.1.
pub async fn exchange(stream: Stream, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
    let tunnel = request.method() == Method::CONNECT;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let switched = match tunnel {
            true => response.status().is_success(),
            false => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        match switched {
            true => switch(response).await,
            false => Ok(read(response).await),
        }
    };
    let drive = async {
        // What goes wrong here reaches `answer` as well.
        drop(connection.with_upgrades().await);
        pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        reply = answer => reply,
        never = drive => match never {},
    }
}

async fn switch(response: Response<Incoming>) -> hyper::Result<Reply> {
    let headers = response.headers().clone();
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded.downcast::<TokioIo<Stream>>();
    let parts = parts.expect("the stream is the one that was handed over");
    Ok(Reply::Switched {
        headers,
        stream: parts.io.into_inner(),
        ahead: parts.read_buf,
    })
}

async fn read(response: Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    Reply::Answered {
        status: head.status,
        headers: head.headers,
        body: body
            .ok()
            .and_then(Result::ok)
            .map(|body| body.to_bytes())
            .unwrap_or_default(),
    }
}

/// The body only explains the status: it is not worth a longer wait.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest body read. A token's catalog, where it is not left out, takes tens of kilobytes.
const MAX_BODY: usize = 1 << 20;
