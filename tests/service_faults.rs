//! Every fault that the service can be told to have is what a client meets on the wire.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a client of a real socket"
)]

#[path = "support/short_stream_client.rs"]
mod short_stream_client;

use std::time::{Duration, Instant};

use callscribe::config::Milliseconds;
use callscribe::service::config::ServiceConfig;
use callscribe::service::fault::{Action, At, Fault, Which};
use callscribe::service::server::{RunningService, start};
use callscribe::service::tone_code;
use serde_json::json;
use short_stream_client::{Client, Reply};

const PATH: &str = "/v1/0123456789abcdef0123456789abcdef/rasr/short-stream";

#[tokio::test]
async fn a_handshake_is_refused_with_the_chosen_status_and_body() {
    let message = "Backend unavailable".to_owned();
    let refuse = Action::Refuse {
        status: 503,
        code: "APIG.0201".into(),
        message,
    };
    let service = faulty(At::Handshake, refuse).await;
    let (status, body) = Client::refused(service.addr, PATH, &[]).await;
    assert_eq!(
        (status, &body["error_msg"]),
        (503, &json!("Backend unavailable"))
    );
    // Only the first is struck.
    Client::connect(service.addr).await;
    assert_eq!(service.counters().faults.total(), 1);
}

#[tokio::test]
async fn a_handshake_is_dropped_without_an_answer() {
    let service = faulty(At::Handshake, Action::Drop).await;
    assert!(Client::try_connect(service.addr).await.is_none());
}

#[tokio::test]
async fn an_error_takes_the_place_of_the_start_reply() {
    let service = faulty(At::Start, error("SIS.0312")).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    let answer = client.answer().await;
    assert_eq!(
        (&answer["resp_type"], &answer["error_code"]),
        (&json!("ERROR"), &json!("SIS.0312"))
    );
    assert_eq!(client.say(&speech(1000)).await, "1.0:1000");
}

#[tokio::test]
async fn an_error_at_a_byte_ends_the_session_and_not_the_connection() {
    let service = faulty(At::Byte(8_000), error("SIS.0305")).await;
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    client.audio(&speech(1000), 4_000).await;
    assert_eq!(client.answer().await["error_code"], "SIS.0305");
    assert_eq!(client.answer().await["reason"], "ERROR");
    assert_eq!(client.say(&speech(1000)).await, "1.0:1000");
}

#[tokio::test]
async fn an_error_takes_the_place_of_the_text() {
    let service = faulty(At::End, error("SIS.0306")).await;
    let mut client = session(&service).await;
    client.end(json!(false)).await;
    assert_eq!(client.answer().await["error_code"], "SIS.0306");
    assert_eq!(client.answer().await["reason"], "ERROR");
}

#[tokio::test]
async fn a_fatal_error_is_followed_by_a_close() {
    let action = Action::FatalError {
        code: "SIS.0302".into(),
        message: "gone".into(),
    };
    let service = faulty(At::Byte(8_000), action).await;
    let mut client = session(&service).await;
    let answer = client.answer().await;
    assert_eq!(answer["resp_type"], "FATAL_ERROR");
    assert!(answer["trace_id"].is_string());
    assert_eq!(client.reply(SOON).await, Reply::Closed);
}

#[tokio::test]
async fn an_event_changes_nothing() {
    let service = faulty(At::Byte(8_000), Action::Event("VOICE_START".into())).await;
    let mut client = session(&service).await;
    let event = client.answer().await;
    assert_eq!(
        (&event["resp_type"], &event["event"]),
        (&json!("EVENT"), &json!("VOICE_START"))
    );
    assert!(event["timestamp"].is_u64() && event["trace_id"].is_string());
    client.end(json!(false)).await;
    assert_eq!(client.answer().await["resp_type"], "RESULT");
}

#[tokio::test]
async fn the_connection_is_dropped_at_a_byte() {
    let service = faulty(At::Byte(8_000), Action::Drop).await;
    let mut client = session(&service).await;
    assert_eq!(client.reply(SOON).await, Reply::Gone);
}

#[tokio::test]
async fn the_connection_is_closed_with_a_code() {
    let service = faulty(At::End, Action::Close(1013)).await;
    let mut client = session(&service).await;
    client.end(json!(false)).await;
    assert_eq!(client.reply(SOON).await, Reply::Closed);
}

#[tokio::test]
async fn a_half_closed_connection_ends_for_the_reader() {
    let service = faulty(At::Byte(8_000), Action::HalfClose).await;
    let mut client = session(&service).await;
    assert_eq!(client.reply(SOON).await, Reply::Gone);
    assert_eq!(service.counters().connections.open(), 1);
}

#[tokio::test]
async fn a_vanished_service_does_not_even_answer_pings() {
    let service = faulty(At::Byte(8_000), Action::Vanish).await;
    let mut client = session(&service).await;
    client.send_ping().await;
    assert_eq!(client.reply(BRIEFLY).await, Reply::Nothing);
    // It still reads: far more than the kernel would keep is taken.
    client.audio(&vec![0; 20_000_000], 32_000).await;
}

#[tokio::test]
async fn a_service_that_stops_reading_stops_the_sender() {
    let service = faulty(At::Byte(8_000), Action::StopReading).await;
    let mut client = session(&service).await;
    let flood = vec![0; 50_000_000];
    let sent = tokio::time::timeout(Duration::from_secs(2), client.audio(&flood, 32_000)).await;
    assert!(sent.is_err(), "50 MB were taken");
}

#[tokio::test]
async fn a_silent_service_answers_pings_only() {
    let service = faulty(At::End, Action::Silence).await;
    let mut client = session(&service).await;
    client.end(json!(false)).await;
    client.ping().await;
    assert_eq!(client.reply(BRIEFLY).await, Reply::Nothing);
}

#[tokio::test]
async fn a_late_text_is_late_and_whole() {
    let service = faulty(At::End, Action::Delay(Milliseconds::new(700))).await;
    let mut client = session(&service).await;
    let ended = Instant::now();
    client.end(json!(false)).await;
    assert!(client.ping().await < Duration::from_millis(500));
    assert_eq!(
        client.answer().await["segments"][0]["result"]["text"],
        "1.0:1000"
    );
    assert!(ended.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn a_slow_reader_takes_its_time() {
    let service = faulty(At::Start, Action::ReadSlowly(16_000)).await;
    let mut client = session(&service).await;
    let ended = Instant::now();
    client.end(json!(false)).await;
    assert_eq!(client.answer().await["resp_type"], "RESULT");
    assert!(ended.elapsed() >= Duration::from_millis(900));
}

const SOON: Duration = Duration::from_secs(10);
const BRIEFLY: Duration = Duration::from_millis(300);

/// A service that strikes the first handshake or session.
async fn faulty(at: At, action: Action) -> RunningService {
    let which = Which {
        last: 1,
        ..Which::default()
    };
    let faults = vec![Fault { at, action, which }];
    start(ServiceConfig {
        faults,
        ..ServiceConfig::default()
    })
    .await
    .unwrap()
}

/// A client that has sent a second of speech.
async fn session(service: &RunningService) -> Client {
    let mut client = Client::connect(service.addr).await;
    client.start().await;
    client.answer().await;
    client.audio(&speech(1000), 4_000).await;
    client
}

fn speech(milliseconds: u64) -> Vec<u8> {
    let samples = tone_code::encode(1, 0, milliseconds);
    samples.into_iter().flat_map(i16::to_le_bytes).collect()
}

fn error(code: &str) -> Action {
    Action::Error {
        code: code.into(),
        message: "ordered".into(),
    }
}
