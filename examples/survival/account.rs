//! What became of a call that was disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::talk::Sent;

/// So much of a second, in milliseconds, has to be there for its word to count as heard.
const HEARD_MS: u64 = 500;

/// The sums of a call.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    until_ready: Vec<Duration>,
    packets_sent: u64,
    packets_received: u64,
    words: usize,
    words_lost: Vec<(u16, u8)>,
    words_doubled: Vec<(u16, u8)>,
    /// Milliseconds of words that no transcript holds.
    missing_ms: u64,
    gap_ms: u64,
    lost_ms: u64,
    calls: BTreeSet<String>,
    ended: Vec<String>,
    is_balanced: bool,
    numbering: Numbering,
    kills: usize,
}

#[derive(Debug, Default)]
struct Numbering {
    epochs: usize,
    holes: usize,
}

impl Account {
    pub(crate) fn new(
        name: &str,
        sent: &[Sent],
        lines: &[Value],
        until_ready: Vec<Duration>,
        kills: usize,
    ) -> Self {
        let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
        let coverage: Vec<&Value> = of("call_ended")
            .flat_map(|line| line["coverage"].as_array().into_iter().flatten())
            .collect();
        let sum = |key: &str| {
            coverage
                .iter()
                .filter_map(|leg| leg[key].as_u64())
                .sum::<u64>()
        };
        let packets = coverage
            .iter()
            .filter_map(|leg| leg["rtp"]["packets"].as_u64());
        let heard = heard(of("transcript"));
        let words: Vec<_> = sent
            .iter()
            .flat_map(|leg| leg.seconds.iter().copied())
            .collect();
        let of_word = |word: &(u16, u8)| heard.get(word).copied().unwrap_or(0);
        let is_lost = |word: &&(u16, u8)| of_word(word) < HEARD_MS;
        let is_doubled = |word: &&(u16, u8)| of_word(word) > 1_000 + HEARD_MS;
        Self {
            name: name.to_owned(),
            until_ready,
            packets_sent: sent.iter().map(|leg| leg.packets).sum(),
            packets_received: packets.sum(),
            words: words.len(),
            words_lost: words.iter().filter(is_lost).copied().collect(),
            words_doubled: words.iter().filter(is_doubled).copied().collect(),
            missing_ms: words
                .iter()
                .map(|word| 1_000_u64.saturating_sub(of_word(word)))
                .sum(),
            gap_ms: sum("gap_ms"),
            lost_ms: sum("lost_ms"),
            calls: of("call_started")
                .filter_map(|line| line["call_id"].as_str())
                .map(Into::into)
                .collect(),
            ended: of("call_ended")
                .filter_map(|line| line["reason"].as_str())
                .map(Into::into)
                .collect(),
            is_balanced: !coverage.is_empty() && coverage.iter().all(|leg| is_balanced(leg)),
            numbering: Numbering::of(lines),
            kills,
        }
    }

    /// Whether the call was one call, its ledger adds up, no word is lost or there twice, and no more was lost than a
    /// kill may cost: on each leg the packet that was just being read.
    pub(crate) fn is_well(&self) -> bool {
        let packets_lost = self.packets_sent - self.packets_received;
        self.calls.len() == 1
            && self.ended.len() == 1
            && self.is_balanced
            && self.words_doubled.is_empty()
            && self.numbering.epochs == 1
            && self.numbering.holes == 0
            && self.words_lost.is_empty()
            && self.gap_ms == 0
            && packets_lost <= 2 * self.kills as u64
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times: Vec<_> = self.until_ready.iter().map(Duration::as_millis).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(0);
        let (least, most) = (
            times.first().copied().unwrap_or(0),
            times.last().copied().unwrap_or(0),
        );
        let verdict = if self.is_well() { "ok" } else { "FAILED" };
        writeln!(f, "{} {}: {verdict}", times.len(), self.name)?;
        writeln!(
            f,
            "  until ready   {least} ms least, {median} ms median, {most} ms most"
        )?;
        writeln!(
            f,
            "  packets       {} sent, {} lost",
            self.packets_sent,
            self.packets_sent - self.packets_received
        )?;
        writeln!(
            f,
            "  words         {} spoken, {} lost {:?}, {} doubled {:?}; {} ms of them missing",
            self.words,
            self.words_lost.len(),
            self.words_lost,
            self.words_doubled.len(),
            self.words_doubled,
            self.missing_ms,
        )?;
        writeln!(
            f,
            "  ledger        {} ms lost, {} ms in gaps, balanced: {}",
            self.lost_ms, self.gap_ms, self.is_balanced
        )?;
        writeln!(
            f,
            "  calls         {} begun, ended: {}",
            self.calls.len(),
            self.ended.join(", ")
        )?;
        write!(
            f,
            "  lines         {} epochs, {} holes in seq",
            self.numbering.epochs, self.numbering.holes
        )
    }
}

impl Numbering {
    fn of(lines: &[Value]) -> Self {
        let epochs: BTreeSet<_> = lines
            .iter()
            .filter_map(|line| line["epoch"].as_str())
            .collect();
        let follows = |pair: &&[Value]| {
            pair[0]["epoch"] == pair[1]["epoch"]
                && pair[0]["seq"].as_u64().map(|seq| seq + 1) != pair[1]["seq"].as_u64()
        };
        Self {
            epochs: epochs.len(),
            holes: lines.windows(2).filter(follows).count(),
        }
    }
}

/// How many milliseconds of each word the final texts hold.
fn heard<'a>(transcripts: impl Iterator<Item = &'a Value>) -> BTreeMap<(u16, u8), u64> {
    let mut heard = BTreeMap::new();
    let finals = transcripts.filter(|line| line["part_final"] == true);
    for text in finals.filter_map(|line| line["text"].as_str()) {
        for (stream, second, milliseconds) in text.split_whitespace().filter_map(parse) {
            *heard.entry((stream, second)).or_default() += milliseconds;
        }
    }
    heard
}

/// `STREAM.SECOND:MILLISECONDS`
fn parse(word: &str) -> Option<(u16, u8, u64)> {
    let (name, milliseconds) = word.split_once(':')?;
    let (stream, second) = name.split_once('.')?;
    Some((
        stream.parse().ok()?,
        second.parse().ok()?,
        milliseconds.parse().ok()?,
    ))
}

fn is_balanced(leg: &Value) -> bool {
    let of = |key: &str| leg[key].as_u64().unwrap_or(u64::MAX / 4);
    of("speech_ms") + of("silence_ms") == of("received_ms")
        && of("transcribed_ms") + of("gap_ms") == of("speech_ms")
}
