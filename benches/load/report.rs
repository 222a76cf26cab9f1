//! The tables and what is kept of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::account::Use;
use crate::contestant::{Contestant, Ledger, Load, Result, Talk};
use crate::machine::Machine;
use crate::{Outcome, ROOT, chart};

/// All runs, in their order.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) legs: u16,
    pub(crate) streams: u16,
    pub(crate) talk: Talk,
    pub(crate) seconds: f64,
    /// Packets that were fetched meanwhile, as a share of those that were due. Costs are charged to what came.
    pub(crate) pace: f64,
    /// Processor seconds for a minute of one stream.
    pub(crate) cpu_s_per_stream_minute: f64,
    /// The same as a share of one core.
    pub(crate) percent_of_core_per_stream: f64,
    /// How much of it the kernel used.
    pub(crate) system_share: f64,
    pub(crate) core: Core,
    pub(crate) sent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<u64>,
    pub(crate) dropped_by_kernel: u64,
    /// The generator's latest packet was so far behind its time.
    pub(crate) generator_late_ms: f64,
    pub(crate) memory_mib: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_leg_kib: Option<f64>,
    /// Median, 90th and 99th percentile in milliseconds.
    pub(crate) delays_ms: BTreeMap<String, [f64; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<Ledger>,
}

/// Percent of a core that each process kept busy.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Core {
    pub(crate) contestant: f64,
    pub(crate) generator: f64,
    pub(crate) recogniser: f64,
}

/// Resident memory of the contestant, in MiB.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// Before the first packet.
    pub(crate) base: f64,
    /// At the end of the measurement.
    pub(crate) end: f64,
    pub(crate) peak: f64,
}

impl Report {
    pub(crate) const fn new(machine: Machine) -> Self {
        Self {
            machine,
            runs: Vec::new(),
        }
    }

    /// Takes in a run and prints its line.
    pub(crate) fn add(&mut self, run: Run) {
        println!("{}", run.line());
        self.runs.push(run);
    }

    /// Prints what is to be said of all runs together.
    pub(crate) fn close(&self, against: Option<&Self>) {
        for run in self.runs.iter().filter(|run| !run.is_paced()) {
            println!(
                "\nNot at its pace, so not what it says: {} with {} streams had {:.0} % of its packets in time.",
                run.contestant.name(),
                run.streams,
                run.pace * 100.0
            );
        }
        println!("\n{}", self.accounts());
        println!("{}", self.ratios());
        if let Some(growth) = self.growth() {
            println!("{growth}\n");
        }
        if let Some(before) = against {
            println!("{}", self.beside(before));
        }
    }

    /// Writes figures and pictures: under a name into the tree, or beside what was built.
    pub(crate) fn keep(&self, name: Option<&str>) -> Outcome<()> {
        let (figures, pictures) = match name {
            Some(name) => (
                format!("{ROOT}/benches/results/{name}.json"),
                format!("{ROOT}/docs/performance"),
            ),
            None => {
                let folder = format!("{ROOT}/target/bench/report");
                (format!("{folder}/figures.json"), folder)
            }
        };
        for path in [&figures, &format!("{pictures}/-")] {
            fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new(".")))?;
        }
        fs::write(&figures, serde_json::to_string_pretty(self)? + "\n")?;
        let pictures = Path::new(&pictures);
        chart::cost(self, &pictures.join("cost.svg"))?;
        chart::delays(self, &pictures.join("delays.svg"))?;
        println!("figures in {figures}, pictures in {}", pictures.display());
        Ok(())
    }

    /// Under full load: every leg has a stream, and it speaks. Runs that did not get their packets in time are left out.
    pub(crate) fn full(&self, contestant: Contestant) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| {
            run.contestant == contestant
                && run.legs == run.streams
                && run.talk == Talk::Conversation
                && run.is_paced()
        })
    }

    /// The median of a figure over the runs with so many streams, with the least and the most.
    pub(crate) fn spread(
        &self,
        contestant: Contestant,
        legs: u16,
        figure: impl Fn(&Run) -> f64,
    ) -> Option<[f64; 3]> {
        let runs = self.full(contestant).filter(|run| run.legs == legs);
        let mut figures: Vec<f64> = runs.map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let lower = figures[(figures.len() - 1) / 2];
        Some([
            figures[0],
            f64::midpoint(lower, upper),
            figures[figures.len() - 1],
        ])
    }

    /// Every number of streams that was asked for, once.
    pub(crate) fn sizes(&self) -> Vec<u16> {
        let mut sizes: Vec<u16> = Contestant::ALL
            .into_iter()
            .flat_map(|contestant| self.full(contestant).map(|run| run.legs))
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Delays, memory and ledger of callscribe.
    fn accounts(&self) -> String {
        let mut text = ACCOUNTS.to_owned();
        let ours = self.runs.iter();
        for run in ours.filter(|run| run.contestant == Contestant::Callscribe) {
            text += &run.account();
        }
        text
    }

    /// How much dearer each yardstick is under the same load.
    fn ratios(&self) -> String {
        let mut text = "| streams | callscribe, % of a core a stream (least, most) |".to_owned();
        let yardsticks = Contestant::ALL
            .into_iter()
            .filter(|contestant| contestant.is_yardstick());
        let yardsticks: Vec<_> = yardsticks.collect();
        for yardstick in &yardsticks {
            text += &format!(" {} costs |", yardstick.name());
        }
        text += &format!("\n|---:|---:|{}\n", "---:|".repeat(yardsticks.len()));
        for legs in self.sizes() {
            let cost =
                |contestant| self.spread(contestant, legs, |run| run.percent_of_core_per_stream);
            let Some([least, ours, most]) = cost(Contestant::Callscribe) else {
                continue;
            };
            text += &format!("| {legs} | {ours:.4} ({least:.4}, {most:.4}) |");
            for &yardstick in &yardsticks {
                text += &match cost(yardstick) {
                    Some([_, theirs, _]) => format!(" {:.2} × |", theirs / ours),
                    None => " |".to_owned(),
                };
            }
            text += "\n";
        }
        text
    }

    /// A line through callscribe's cost: what it costs without any stream, and what each adds.
    fn growth(&self) -> Option<String> {
        let points: Vec<(f64, f64)> = self
            .full(Contestant::Callscribe)
            .map(|run| (f64::from(run.legs), run.core.contestant))
            .collect();
        let count = points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (legs, busy) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - legs).powi(2)).sum();
        let common: f64 = points
            .iter()
            .map(|point| (point.0 - legs) * (point.1 - busy))
            .sum();
        let slope = common / spread;
        let base = busy - slope * legs;
        (spread > 0.0).then(|| {
            format!("Growth: {base:.2} % of a core, and {slope:.4} % more with each stream.")
        })
    }

    /// What has changed since other figures.
    fn beside(&self, before: &Self) -> String {
        let mut text = format!(
            "Before: {}\n\n| receiver | streams | % of a core a stream, before | after | after / before |\n|---|---:|---:|---:|---:|\n",
            before.machine
        );
        for legs in self.sizes() {
            for contestant in Contestant::ALL {
                let cost = |report: &Self| {
                    report.spread(contestant, legs, |run| run.percent_of_core_per_stream)
                };
                if let (Some([_, before, _]), Some([_, after, _])) = (cost(before), cost(self)) {
                    let name = contestant.name();
                    let ratio = after / before;
                    text +=
                        &format!("| {name} | {legs} | {before:.4} | {after:.4} | {ratio:.2} |\n");
                }
            }
        }
        text
    }
}

/// Figures that were kept under a name.
pub(crate) fn read(name: &str) -> Outcome<Report> {
    let path = format!("{ROOT}/benches/results/{name}.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(serde_json::from_str(&text)?)
}

pub(crate) const HEAD: &str = "\
| receiver | legs | streams | CPU s / stream-minute | % of a core / stream | in the kernel | its core | generator | recogniser | pace | sent | lost | dropped by the kernel | latest packet, ms late |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

const ACCOUNTS: &str = "\
| callscribe: legs | streams | fragment, ms p50 / p90 / p99 | END | tick lag | MiB before | at the end | KiB a leg | speech | texts | speech without text, ms |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

impl Run {
    pub(crate) fn new(contestant: Contestant, load: Load, result: Result) -> Self {
        let used = result.contestant;
        let pace = result.fetched as f64 / (f64::from(load.streams) * 50.0 * used.wall);
        let streams = f64::from(load.streams) * pace;
        let percent = |used: Use| used.of_core() * 100.0;
        let mib = |kib: u64| kib as f64 / 1024.0;
        Self {
            contestant,
            legs: load.legs,
            streams: load.streams,
            talk: load.talk,
            seconds: used.wall,
            pace,
            cpu_s_per_stream_minute: used.of_core() / streams * 60.0,
            percent_of_core_per_stream: percent(used) / streams,
            system_share: used.system / used.cpu.max(f64::MIN_POSITIVE),
            core: Core {
                contestant: percent(used),
                generator: percent(result.generator),
                recogniser: percent(result.sink),
            },
            sent: result.sent,
            received: result.received,
            dropped_by_kernel: result.dropped,
            generator_late_ms: result.generator_late_ms,
            memory_mib: Memory {
                base: mib(result.base_kib),
                end: mib(used.resident_kib),
                peak: mib(used.peak_kib),
            },
            silent_leg_kib: result.silent_leg_kib,
            delays_ms: result.delays,
            ledger: result.ledger,
        }
    }

    /// Packets that were sent and not received.
    pub(crate) const fn lost(&self) -> u64 {
        match self.received {
            Some(received) => self.sent.saturating_sub(received),
            None => self.dropped_by_kernel,
        }
    }

    /// Whether its packets came in time: within 2 %, and a second of somebody else's.
    fn is_paced(&self) -> bool {
        let due = f64::from(self.streams) * 50.0 * self.seconds;
        (self.pace * due - due).abs() <= due * 0.02 + 100.0
    }

    fn line(&self) -> String {
        let silent = match self.talk {
            Talk::Conversation => "",
            Talk::Silence => " (silence)",
        };
        format!(
            "| {}{silent} | {} | {} | {:.4} | {:.4} | {:.0} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {} | {} | {} | {:.1} |",
            self.contestant.name(),
            self.legs,
            self.streams,
            self.cpu_s_per_stream_minute,
            self.percent_of_core_per_stream,
            self.system_share * 100.0,
            self.core.contestant,
            self.core.generator,
            self.core.recogniser,
            self.pace * 100.0,
            self.sent,
            self.lost(),
            self.dropped_by_kernel,
            self.generator_late_ms,
        )
    }

    fn account(&self) -> String {
        let delay = |name: &str| match self.delays_ms.get(name) {
            Some([median, ninety, most]) => format!("{median:.1} / {ninety:.1} / {most:.1}"),
            None => "-".to_owned(),
        };
        let Memory { base, end, .. } = self.memory_mib;
        let a_leg = match self.silent_leg_kib {
            Some(silent) => silent,
            None => (end - base) * 1024.0 / f64::from(self.legs),
        };
        let ledger = self.ledger.unwrap_or_default();
        let heard = ledger.speech_ms + ledger.silence_ms;
        format!(
            "| {} | {} | {} | {} | {} | {base:.1} | {end:.1} | {a_leg:.1}{} | {:.1} % | {} | {} |\n",
            self.legs,
            match self.talk {
                Talk::Conversation => self.streams.to_string(),
                Talk::Silence => format!("{} silent", self.streams),
            },
            delay("fragment_delay"),
            delay("end_delay"),
            delay("tick_lag"),
            if self.silent_leg_kib.is_some() {
                " registered"
            } else {
                ""
            },
            ledger.speech_ms as f64 / heard.max(1) as f64 * 100.0,
            ledger.texts,
            ledger.speech_ms.saturating_sub(ledger.transcribed_ms),
        )
    }
}
