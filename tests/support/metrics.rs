//! What a daemon serves to Prometheus.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::control::Client;

/// The text of `/metrics`.
pub struct Metrics {
    pub text: String,
}

impl Metrics {
    /// Asks for it, and checks that it is whole and of the right type.
    #[track_caller]
    pub fn of(client: &Client) -> Self {
        let mut stream = client.connect();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(head.contains("application/openmetrics-text; version=1.0.0"));
        assert!(body.ends_with("# EOF\n"), "{body}");
        let text = body.to_owned();
        Self { text }
    }

    /// The value of a series, with exactly these labels as they are written.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &str) -> f64 {
        let series = match labels {
            "" => format!("{name} "),
            labels => format!("{name}{{{labels}}} "),
        };
        let line = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix(&series));
        let line = line.unwrap_or_else(|| panic!("no {series}in\n{}", self.text));
        line.parse().unwrap()
    }

    /// The names that may be used in queries, histograms without their suffixes.
    pub fn families(&self) -> BTreeSet<String> {
        let samples = self.text.lines().filter(|line| !line.starts_with('#'));
        families(&samples.collect::<Vec<_>>().join("\n"))
    }
}

/// The names of ours in a text, histograms without their suffixes.
pub fn families(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| {
        let is_of = |prefix: &str| word.starts_with(prefix) && word.len() > prefix.len();
        is_of("callscribe_") || is_of("process_")
    });
    let histograms = ["_bucket", "_count", "_sum"];
    let family = |word: &str| {
        let suffix = histograms
            .iter()
            .find_map(|suffix| word.strip_suffix(suffix));
        suffix.unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}
