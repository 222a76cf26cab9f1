//! Every input that fuzzing found worth keeping is survived.

use std::fs;
use std::path::Path;
use std::time::Instant;

use callscribe::media::fuzz;

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
fn corpus_of_datagrams_is_survived() {
    let epoch = Instant::now();
    assert!(replay("datagrams", |input| fuzz::datagrams(input, epoch)) > 0);
}

#[test]
fn corpus_of_compounds_is_survived() {
    assert!(replay("compound", fuzz::compound) > 0);
}

/// Runs a target over its corpus and gives the number of inputs.
fn replay(target: &str, body: impl Fn(&[u8])) -> usize {
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
    count
}
