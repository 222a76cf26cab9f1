//! A short-stream server on a port of its own, whose behaviour each test writes out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use callscribe::asr::Recognition;
use callscribe::asr::endpoint::Endpoint;
use callscribe::asr::message::ClientMessage;
use callscribe::io::part_audio::PartAudio;
use callscribe::io::recogniser::{Provider, Recogniser, Settings, Unrecognised};
use callscribe::media::Law;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// The head of each handshake that was accepted.
    pub(crate) requests: Vec<Request>,
    /// The audio of each session, complete or not.
    pub(crate) audio: Vec<Vec<u8>>,
    /// The sizes of all binary messages.
    pub(crate) sizes: Vec<usize>,
    /// The `config` of each START.
    pub(crate) starts: Vec<serde_json::Value>,
    /// Connections accepted by TCP.
    pub(crate) connections: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Rc<RefCell<Seen>>);

/// An accepted connection.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) log: Log,
}

/// Runs a test body beside a server that gives each connection, with its number, to `script`.
pub(crate) async fn with_server<S, F, T>(script: S, body: impl AsyncFnOnce(Settings, Log) -> T) -> T
where
    S: Fn(usize, TcpStream, Log) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let seen = log.clone();
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let n = seen.0.borrow().connections;
            seen.0.borrow_mut().connections += 1;
            tokio::task::spawn_local(script(n, stream, seen.clone()));
        }
    };
    let endpoint = Endpoint::new(&format!("ws://{address}"), "p1").unwrap();
    let run = async {
        tokio::task::spawn_local(accept);
        body(Settings::new(endpoint), log).await
    };
    let tasks = LocalSet::new();
    let bounded = tokio::time::timeout(Duration::from_secs(60), tasks.run_until(run));
    bounded.await.expect("the test ends within a minute")
}

pub(crate) async fn accept(stream: TcpStream, log: Log) -> Peer {
    let seen = log.clone();
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let note = move |request: &Request, response: Response| {
        seen.0.borrow_mut().requests.push(request.clone());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, note)
        .await
        .unwrap();
    Peer { socket, log }
}

impl Peer {
    /// One session, as the service runs it. `false` when the client is gone.
    pub(crate) async fn serve(&mut self, text: &str) -> bool {
        self.serve_until(usize::MAX, text).await
    }

    /// One session, abandoned when it has brought `limit` bytes.
    pub(crate) async fn serve_until(&mut self, limit: usize, text: &str) -> bool {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(command))) => match ClientMessage::parse(&command).unwrap() {
                    ClientMessage::Start { config } => {
                        self.log.0.borrow_mut().starts.push(config.into());
                        self.log.0.borrow_mut().audio.push(vec![]);
                        self.say(r#"{"resp_type":"START","trace_id":"trace-7"}"#)
                            .await;
                    }
                    ClientMessage::End { .. } => {
                        self.say(&result(text)).await;
                        self.say(r#"{"resp_type":"END","trace_id":"trace-7","reason":"NORMAL"}"#)
                            .await;
                        return true;
                    }
                },
                Some(Ok(Message::Binary(audio))) => {
                    let mut seen = self.log.0.borrow_mut();
                    seen.sizes.push(audio.len());
                    let session = seen.audio.last_mut().expect("audio after START");
                    session.extend_from_slice(&audio);
                    if session.len() >= limit {
                        return true;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        // The client may be gone.
        drop(self.socket.send(Message::text(text)).await);
    }

    /// Reads until the client has gone.
    pub(crate) async fn drain(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

pub(crate) fn result(text: &str) -> String {
    serde_json::json!({"resp_type": "RESULT", "trace_id": "trace-7", "segments": [
        {"start_time": 0, "end_time": 1000, "is_final": true,
         "result": {"text": text, "score": 0.9}}]})
    .to_string()
}

/// Answers the handshake with a refusal, the body in a packet of its own.
pub(crate) async fn refuse(mut stream: TcpStream, status: &str, body: &str) {
    read_head(&mut stream).await;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
}

/// Reads the head of a request.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A numbered µ-law part: no second of it is like another.
pub(crate) fn speech(seconds: usize) -> Vec<u8> {
    (0..seconds * 8000)
        .map(|n| u8::try_from((n / 97 + n) % 256).unwrap())
        .collect()
}

/// A part that is complete from the start.
pub(crate) fn complete(g711: &[u8]) -> Rc<PartAudio> {
    PartAudio::complete(Law::Pcmu, g711.to_vec())
}

/// What the service should have heard of µ-law audio.
pub(crate) fn as_pcm(g711: &[u8]) -> Vec<u8> {
    let pcm = |&code| audio_codec_algorithms::decode_ulaw(code).to_le_bytes();
    g711.iter().flat_map(pcm).collect()
}

/// Recognises one part with these settings.
pub(crate) async fn recognise(
    settings: Settings,
    audio: Rc<PartAudio>,
) -> Result<Recognition, Unrecognised> {
    let recogniser = Recogniser::new(Provider::new(settings).unwrap());
    recogniser.recognise(audio, |_| {}).await
}
