//! The tables and what is kept of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::account::Use;
use crate::chart;
use crate::contestant::{Contestant, Load, Result};
use crate::machine::Machine;

/// All runs, in their order.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) runs: Vec<Run>,
}

/// One line of the table.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) legs: u16,
    pub(crate) speaking: u16,
    /// Processor seconds for a minute of one stream.
    pub(crate) cpu_s_per_stream_minute: f64,
    /// The same as a share of one core.
    pub(crate) percent_of_core: f64,
    pub(crate) generator_percent: f64,
    pub(crate) sink_percent: f64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) peak_mib: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_leg_kib: Option<f64>,
    /// Median, 90th and 99th percentile in milliseconds.
    pub(crate) delays_ms: BTreeMap<String, [f64; 3]>,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            runs: Vec::new(),
        }
    }

    /// Takes in a run and prints its line.
    pub(crate) fn add(&mut self, contestant: Contestant, load: Load, result: Result) {
        let streams = f64::from(load.speaking);
        let share = |used: Use| used.cpu.as_secs_f64() / used.wall.as_secs_f64().max(1e-9);
        let run = Run {
            contestant,
            legs: load.legs,
            speaking: load.speaking,
            cpu_s_per_stream_minute: share(result.contestant) / streams * 60.0,
            percent_of_core: share(result.contestant) / streams * 100.0,
            generator_percent: share(result.generator) / streams * 100.0,
            sink_percent: share(result.sink) / streams * 100.0,
            sent: result.sent,
            received: result.received,
            peak_mib: result.contestant.peak_kib as f64 / 1024.0,
            silent_leg_kib: result.silent_leg_kib,
            delays_ms: result.delays.into_iter().collect(),
        };
        if self.runs.is_empty() {
            println!("{HEAD}");
        }
        println!("{}", run.line());
        self.runs.push(run);
    }

    /// Prints the ratios, and writes the table, the figures and the pictures.
    pub(crate) fn keep(&self, folder: &Path) -> Outcome<()> {
        fs::create_dir_all(folder)?;
        let ratios = self.ratios();
        println!("\n{ratios}");
        let lines: String = self.runs.iter().map(|run| run.line() + "\n").collect();
        let table = format!("{}\n\n{HEAD}\n{lines}\n{ratios}", self.machine);
        fs::write(folder.join("table.md"), table)?;
        let figures = serde_json::to_string_pretty(self)? + "\n";
        fs::write(folder.join("figures.json"), figures)?;
        chart::cost(&self.runs, &folder.join("cost.svg"))?;
        chart::delays(&self.runs, &folder.join("delays.svg"))?;
        println!("kept in {}", folder.display());
        Ok(())
    }

    /// How much cheaper or dearer the daemon is than each yardstick under the same load.
    fn ratios(&self) -> String {
        let mut text =
            "| streams | yardstick | its cost / callscribe's |\n|---:|---|---:|\n".to_owned();
        for run in self.runs.iter().filter(|run| run.contestant.is_yardstick()) {
            let ours = self
                .runs
                .iter()
                .find(|ours| ours.contestant == Contestant::Callscribe && ours.legs == run.legs);
            if let Some(ours) = ours {
                let ratio = run.percent_of_core / ours.percent_of_core;
                text += &format!(
                    "| {} | {} | {ratio:.2} |\n",
                    run.legs,
                    run.contestant.name()
                );
            }
        }
        text
    }
}

const HEAD: &str = "| receiver | legs | streams | CPU s / stream-minute | % of a core / stream | sent | lost | peak MiB | generator % | recogniser % | delays p50/p90/p99 ms |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|";

impl Run {
    fn line(&self) -> String {
        let delays = self.delays_ms.iter().map(|(name, [median, ninety, most])| {
            format!("{name} {median:.1}/{ninety:.1}/{most:.1}")
        });
        let mut delays = delays.collect::<Vec<_>>().join(", ");
        if let Some(kib) = self.silent_leg_kib {
            delays = format!("{kib:.1} KiB a silent leg; {delays}");
        }
        format!(
            "| {} | {} | {} | {:.4} | {:.4} | {} | {} | {:.1} | {:.4} | {:.4} | {delays} |",
            self.contestant.name(),
            self.legs,
            self.speaking,
            self.cpu_s_per_stream_minute,
            self.percent_of_core,
            self.sent,
            self.sent.saturating_sub(self.received),
            self.peak_mib,
            self.generator_percent,
            self.sink_percent,
        )
    }
}

/// The percentiles of every histogram in seconds that a Prometheus text shows, in milliseconds.
///
/// Within a bucket the observations are taken to be spread evenly.
pub(crate) fn percentiles(metrics: &str) -> Vec<(String, [f64; 3])> {
    let mut buckets: BTreeMap<String, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once("_seconds_bucket{") else {
            continue;
        };
        let bound = rest
            .split("le=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let bound = bound.and_then(|text| text.parse::<f64>().ok());
        let count = rest
            .rsplit(' ')
            .next()
            .and_then(|text| text.parse::<f64>().ok());
        if let (Some(bound), Some(count)) = (bound, count) {
            let name = name.trim_start_matches("callscribe_").to_owned();
            let bucket = buckets
                .entry(name)
                .or_default()
                .entry(bound.to_bits())
                .or_insert((bound, 0.0));
            bucket.1 += count;
        }
    }
    let all = buckets.into_iter().filter_map(|(name, buckets)| {
        let buckets: Vec<(f64, f64)> = buckets.into_values().collect();
        let total = buckets.last()?.1;
        (total > 0.0).then(|| {
            (
                name,
                [0.5, 0.9, 0.99].map(|share| quantile(&buckets, share * total) * 1000.0),
            )
        })
    });
    all.collect()
}

/// Where `rank` lies among cumulative buckets; beyond the last finite one, that one's bound.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let (mut lower, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= rank {
            let share = (rank - below) / (count - below).max(f64::MIN_POSITIVE);
            return if bound.is_finite() {
                lower + (bound - lower) * share
            } else {
                lower
            };
        }
        (lower, below) = (bound, count);
    }
    lower
}
