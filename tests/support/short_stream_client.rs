//! A plain client of the short-stream protocol, for tests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

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
