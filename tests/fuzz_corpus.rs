//! Every input that fuzzing found worth keeping is survived.

use std::fs;
use std::path::Path;
use std::time::Instant;

use callscribe::{asr, capture, io, media};

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
fn corpus_of_datagrams_is_survived() {
    let epoch = Instant::now();
    replay("datagrams", |input| media::fuzz::datagrams(input, epoch));
}

#[test]
fn corpus_of_compounds_is_survived() {
    replay("compound", media::fuzz::compound);
}

#[test]
fn corpus_of_captures_is_survived() {
    replay("capture", capture::fuzz::capture);
}

#[test]
fn corpus_of_messages_is_survived() {
    replay("messages", asr::fuzz::messages);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
fn corpus_of_sessions_is_survived() {
    let epoch = Instant::now();
    replay("session", |input| asr::fuzz::session(input, epoch));
}

#[test]
fn corpus_of_requests_is_survived() {
    replay("requests", io::control::fuzz::requests);
}

/// Runs a target over its corpus.
fn replay(target: &str, body: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(corpus).expect("the corpus is committed") {
        let input = entry
            .and_then(|entry| fs::read(entry.path()))
            .expect("it can be read");
        body(&input);
        count += 1;
    }
    assert!(count > 0, "{target} has a corpus");
}
