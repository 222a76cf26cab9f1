//! A plain client of the short-stream protocol, for tests.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test that includes this uses a part of it"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What comes from the service within a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A message.
    Message,
    /// A close frame.
    Closed,
    /// The end of the connection, without a close frame.
    Gone,
    /// Nothing, so far.
    Nothing,
}

/// One connection to the service.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    read_ahead: Vec<Value>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[("X-Auth-Token", "test")]).await
    }

    pub(crate) async fn connect_with(addr: SocketAddr, headers: &[(&'static str, &str)]) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let request = request(addr, super::PATH, headers);
        let (socket, _) = client_async(request, stream).await.unwrap();
        Self {
            socket,
            read_ahead: Vec::new(),
        }
    }

    /// A connection, unless the service lets the handshake fall.
    pub(crate) async fn try_connect(addr: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (socket, _) = client_async(request(addr, super::PATH, &[]), stream)
            .await
            .ok()?;
        Some(Self {
            socket,
            read_ahead: Vec::new(),
        })
    }

    /// The status and body of a handshake that must fail.
    pub(crate) async fn refused(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, Value) {
        let stream = TcpStream::connect(addr).await.unwrap();
        match client_async(request(addr, path, headers), stream).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                (
                    response.status().as_u16(),
                    serde_json::from_slice(&body).unwrap_or(Value::Null),
                )
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("accepted"),
        }
    }

    pub(crate) async fn start(&mut self) {
        let config = json!({"audio_format": "pcm8k16bit", "property": "chinese_8k_common"});
        self.start_with(&config).await;
    }

    pub(crate) async fn start_with(&mut self, config: &Value) {
        self.text(&json!({"command": "START", "config": config}))
            .await;
    }

    pub(crate) async fn end(&mut self, cancel: Value) {
        self.text(&json!({"command": "END", "cancel": cancel}))
            .await;
    }

    pub(crate) async fn text(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    pub(crate) async fn audio(&mut self, audio: &[u8], fragment: usize) {
        for fragment in audio.chunks(fragment) {
            self.socket
                .send(Message::binary(fragment.to_vec()))
                .await
                .unwrap();
        }
    }

    /// One whole session, in legal steps; gives its text.
    pub(crate) async fn say(&mut self, audio: &[u8]) -> String {
        self.start().await;
        assert_eq!(self.answer().await["resp_type"], "START");
        self.audio(audio, 4_000).await;
        self.end(json!(false)).await;
        let answers = self.answers_until_end().await;
        answers
            .iter()
            .filter_map(|answer| answer["segments"][0]["result"]["text"].as_str())
            .collect()
    }

    pub(crate) async fn answer(&mut self) -> Value {
        if !self.read_ahead.is_empty() {
            return self.read_ahead.remove(0);
        }
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?} instead of an answer"),
            }
        }
    }

    pub(crate) async fn answers_until_end(&mut self) -> Vec<Value> {
        let mut answers = Vec::new();
        loop {
            answers.push(self.answer().await);
            if answers.last().unwrap()["resp_type"] == "END" {
                return answers;
            }
        }
    }

    /// Sends a ping and waits for its pong; answers that come before are kept.
    pub(crate) async fn ping(&mut self) -> Duration {
        let sent = Instant::now();
        self.socket
            .send(Message::Ping(Vec::new().into()))
            .await
            .unwrap();
        loop {
            match self.message().await {
                Some(Message::Pong(_)) => return sent.elapsed(),
                Some(Message::Text(text)) => {
                    self.read_ahead.push(serde_json::from_str(&text).unwrap());
                }
                other => panic!("{other:?} instead of a pong"),
            }
        }
    }

    pub(crate) async fn send_ping(&mut self) {
        self.socket
            .send(Message::Ping(Vec::new().into()))
            .await
            .unwrap();
    }

    /// What comes next, within a time.
    pub(crate) async fn reply(&mut self, within: Duration) -> Reply {
        match timeout(within, self.socket.next()).await {
            Err(_) => Reply::Nothing,
            Ok(Some(Ok(Message::Close(_)))) => Reply::Closed,
            Ok(Some(Ok(_))) => Reply::Message,
            Ok(Some(Err(_)) | None) => Reply::Gone,
        }
    }

    pub(crate) async fn is_closed_by_service(&mut self) -> bool {
        matches!(self.message().await, Some(Message::Close(_)))
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while self.message().await.is_some() {}
    }

    async fn message(&mut self) -> Option<Message> {
        timeout(Duration::from_secs(18), self.socket.next())
            .await
            .expect("no message within the 18 s that the official SDK waits")
            .and_then(Result::ok)
    }
}

fn request(addr: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(*name), HeaderValue::from_str(value));
        request.headers_mut().insert(name.unwrap(), value.unwrap());
    }
    request
}

/// Asks the token endpoint; the status, and the token if one was given.
pub(crate) async fn fetch_token(
    addr: SocketAddr,
    name: &str,
    password: &str,
    domain: &str,
) -> (u16, Option<String>) {
    let user = json!({"name": name, "password": password, "domain": {"name": domain}});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": "cn-north-4"}}}})
    .to_string();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "POST /v3/auth/tokens?nocatalog=true HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\
         Content-Type: application/json;charset=utf8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let token = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-subject-token: "));
    (status, token.map(str::to_owned))
}

/// Shakes hands by TLS, trusting that certificate alone; gives the answer to START.
pub(crate) async fn start_over_tls(addr: SocketAddr, trusted: CertificateDer<'static>) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let (mut socket, _) = client_async(request(addr, super::PATH, &[]), stream)
        .await
        .unwrap();
    let config = json!({"audio_format": "pcm8k16bit", "property": "chinese_8k_common"});
    let start = json!({"command": "START", "config": config}).to_string();
    socket.send(Message::text(start)).await.unwrap();
    socket
        .next()
        .await
        .unwrap()
        .unwrap()
        .into_text()
        .unwrap()
        .to_string()
}
