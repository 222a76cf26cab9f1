//! The local service understands Mandarin: the synthetic sentences in `fixtures/`, companded to
//! G.711, within 10 % of wrong characters, and invents nothing in silence.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a client of a real socket"
)]

#[path = "support/short_stream_client.rs"]
mod short_stream_client;

use std::path::Path;

use audio_codec_algorithms::encode_ulaw;
use callscribe::cli::service::default_model;
use callscribe::eval::score::{Score, score};
use callscribe::service::config::{EngineConfig, ServiceConfig};
use callscribe::service::engine::whisper::WhisperConfig;
use callscribe::service::server::{RunningService, start};
use serde_json::json;
use short_stream_client::Client;

const PATH: &str = "/v1/0123456789abcdef0123456789abcdef/rasr/short-stream";

#[tokio::test]
async fn sentences_are_understood_and_silence_is_not() {
    let Some(service) = recogniser().await else {
        return;
    };
    assert_eq!(recognise(&service, &[0; 16_000]).await, "");
    let mut total = Score::default();
    for (name, text) in sentences() {
        let heard = recognise(&service, &samples(&name)).await;
        let result = score(&text, &heard);
        eprintln!("{name} {:5.1} %  {heard}", result.rate_percent());
        total = total + result;
    }
    eprintln!("all {:5.1} %", total.rate_percent());
    assert!(
        total.characters > 150 && total.rate_percent() <= 10.0,
        "{total:?}"
    );
}

/// The service with Whisper; `None`, and a word about it, where there is no model.
async fn recogniser() -> Option<RunningService> {
    let model = default_model();
    if !model.is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no model at {}; run `make model`",
            model.display()
        );
        eprintln!("skipped: no model at {}; run `make model`", model.display());
        return None;
    }
    let engine = EngineConfig::Whisper(WhisperConfig::new(model));
    let service = start(ServiceConfig {
        engine,
        ..ServiceConfig::default()
    })
    .await
    .unwrap();
    assert!(service.engine().starts_with("whisper-"));
    Some(service)
}

async fn recognise(service: &RunningService, samples: &[i16]) -> String {
    let audio: Vec<u8> = samples.iter().map(|&sample| encode_ulaw(sample)).collect();
    let mut client = Client::connect(service.addr).await;
    client
        .start_with(&json!({"audio_format": "ulaw8k8bit", "property": "chinese_8k_common"}))
        .await;
    let started = client.answer().await;
    assert!(
        started["trace_id"]
            .as_str()
            .unwrap()
            .starts_with("whisper-"),
        "{started}"
    );
    client.audio(&audio, 3_200).await;
    client.end(json!(false)).await;
    let answers = client.answers_until_end().await;
    answers
        .iter()
        .filter_map(|answer| answer["segments"][0]["result"]["text"].as_str())
        .collect()
}

/// File and text of each sentence.
fn sentences() -> Vec<(String, String)> {
    let table = std::fs::read_to_string(fixture("texts.tsv")).unwrap();
    let rows = table.lines().skip(1).filter(|row| row.starts_with('s'));
    rows.map(|row| row.split('\t').collect::<Vec<_>>())
        .map(|fields| (fields[0].to_owned(), fields[3].to_owned()))
        .collect()
}

fn samples(name: &str) -> Vec<i16> {
    let mut reader = hound::WavReader::open(fixture(&format!("{name}.wav"))).unwrap();
    reader.samples().map(Result::unwrap).collect()
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}
