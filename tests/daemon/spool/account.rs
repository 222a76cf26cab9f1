//! Adds up what became of speech that was sent: which milliseconds of which second are in a text, and the gaps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What became of all calls.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) calls: BTreeSet<String>,
    pub(crate) parts: usize,
    pub(crate) late: usize,
    pub(crate) replays: u64,
    /// Milliseconds in texts, by stream and second.
    pub(crate) heard: BTreeMap<(u64, u64), u64>,
    /// Milliseconds and lines, by reason.
    pub(crate) gaps: BTreeMap<String, (u64, usize)>,
    pub(crate) speech_ms: u64,
    pub(crate) transcribed_ms: u64,
    pub(crate) gap_ms: u64,
    pub(crate) lost_ms: u64,
    pub(crate) ended: usize,
}

impl Account {
    /// Checks that no part is published twice and that every ledger adds up.
    pub(crate) fn of(lines: &[Value]) -> Self {
        let mut account = Self::default();
        let mut finals = BTreeSet::new();
        for line in lines {
            match line["event"].as_str().unwrap() {
                "call_started" => {
                    let is_new = account.calls.insert(line["call_id"].to_string());
                    assert!(is_new, "a call begins twice: {line}");
                }
                "transcript" if line["part_final"] == true => {
                    let part = (line["utterance_id"].to_string(), line["part"].to_string());
                    assert!(finals.insert(part), "a part is published twice: {line}");
                    account.add_text(line);
                }
                "gap" => {
                    let ms = line["end_ms"].as_u64().unwrap() - line["start_ms"].as_u64().unwrap();
                    let reason = line["reason"].as_str().unwrap().to_owned();
                    let gap = account.gaps.entry(reason).or_default();
                    *gap = (gap.0 + ms, gap.1 + 1);
                }
                "call_ended" => account.add_ledger(line),
                _ => {}
            }
        }
        account
    }

    fn add_text(&mut self, line: &Value) {
        self.parts += 1;
        self.late += usize::from(line["late"] == true);
        self.replays += line["asr"]["attempts"].as_u64().unwrap().saturating_sub(1);
        for word in line["text"].as_str().unwrap().split_whitespace() {
            let numbers: Vec<u64> = word.split(['.', ':']).map(|n| n.parse().unwrap()).collect();
            *self.heard.entry((numbers[0], numbers[1])).or_default() += numbers[2];
        }
    }

    fn add_ledger(&mut self, line: &Value) {
        self.ended += 1;
        for leg in line["coverage"].as_array().unwrap() {
            let ms = |field: &str| leg[field].as_u64().unwrap();
            assert_eq!(
                ms("transcribed_ms") + ms("gap_ms"),
                ms("speech_ms"),
                "{line}"
            );
            assert_eq!(
                ms("speech_ms") + ms("silence_ms"),
                ms("received_ms"),
                "{line}"
            );
            self.speech_ms += ms("speech_ms");
            self.transcribed_ms += ms("transcribed_ms");
            self.gap_ms += ms("gap_ms");
            self.lost_ms += ms("lost_ms");
        }
    }

    /// Seconds with more in the texts than was said: heard twice.
    pub(crate) fn doubled(&self) -> Vec<((u64, u64), u64)> {
        let seconds = self.heard.iter().map(|(&second, &ms)| (second, ms));
        seconds.filter(|&(_, ms)| ms > 1_060).collect()
    }

    /// Milliseconds that were said and are in no text.
    pub(crate) fn missing_ms(&self, streams: u64, seconds: u64) -> u64 {
        let said = (1..=streams).flat_map(|stream| (0..seconds).map(move |s| (stream, s)));
        let missing =
            said.map(|second| 1_000 - self.heard.get(&second).map_or(0, |&ms| ms.min(1_000)));
        missing.filter(|&ms| ms > 40).sum()
    }

    /// Asserts that each second of each stream was heard whole in each of so many rounds, and that
    /// nothing was lost or given up.
    #[track_caller]
    pub(crate) fn assert_whole(&self, streams: u64, seconds: u64, rounds: u64) {
        assert_eq!((self.gap_ms, self.lost_ms), (0, 0));
        for (second, ms) in &self.heard {
            let whole = 960 * rounds..=1_040 * rounds;
            assert!(whole.contains(ms), "{second:?}: {ms} ms in {rounds} rounds");
        }
        assert_eq!(self.heard.len() as u64, streams * seconds);
    }

    /// For people.
    pub(crate) fn print(&self, title: &str) {
        println!("| {title} | |\n|---|---|");
        println!(
            "| calls begun, ended | {}, {} |",
            self.calls.len(),
            self.ended
        );
        println!(
            "| parts, late, replays | {}, {}, {} |",
            self.parts, self.late, self.replays
        );
        println!(
            "| speech, transcribed, gap | {} ms, {} ms, {} ms |",
            self.speech_ms, self.transcribed_ms, self.gap_ms
        );
        println!("| lost on the way in | {} ms |", self.lost_ms);
        for (reason, (ms, lines)) in &self.gaps {
            println!("| gap {reason} | {lines} lines, {ms} ms |");
        }
        println!("| seconds heard twice | {} |", self.doubled().len());
    }
}
