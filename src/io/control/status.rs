//! The daemon at one moment, for `callscribe doctor` and for whoever asks why there is no text.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::call::census::Census;
use crate::call::overload::{Load, Shedding};
use crate::call::snapshot::CallState;
use crate::call::stray::{StrayCause, StraySender};
use crate::event::GapReason;
use crate::io::media_worker::WorkerFigures;
use crate::io::metrics::Disks;
use crate::io::provider::Provider;
use crate::io::publisher::Figures;
use crate::media::Samples;

/// `GET /v1/status`
#[derive(Debug, Serialize)]
pub(super) struct StatusAnswer {
    version: &'static str,
    pid: u32,
    /// How long it has run.
    uptime_ms: u64,
    /// How long ago its configuration was read.
    configured_ms: u64,
    calls: BTreeMap<CallState, u64>,
    calls_begun: u64,
    ports: usize,
    free_ports: usize,
    /// Datagrams on the ports of calls, and those of them that became part of what is heard.
    datagrams: u64,
    played: u64,
    /// Datagrams that belonged to no call, and who sent them within the last minute.
    strays: BTreeMap<StrayCause, u64>,
    stray_senders: Vec<Stray>,
    speech: Speech,
    recogniser: Recogniser,
    load: Loads,
    #[serde(flatten)]
    kept: Kept,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    kernel_drops: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Stray {
    port: u16,
    source: SocketAddr,
    cause: StrayCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_type: Option<u8>,
    datagrams: u64,
    last_ms: u64,
}

/// What was said since the daemon began.
#[derive(Debug, Serialize)]
struct Speech {
    utterances: u64,
    transcripts: u64,
    gaps: BTreeMap<GapReason, u64>,
    speech_ms: u64,
    transcribed_ms: u64,
    gap_ms: u64,
    parts_waiting: u64,
}

#[derive(Debug, Serialize)]
struct Recogniser {
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<Halted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<LastFailure>,
    sessions: u64,
    sessions_open: u32,
    sessions_waiting: u32,
    sessions_limit: u32,
    quota_refusals: u64,
    recognised: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_remaining_ms: Option<u64>,
}

/// How near the daemon is to its capacity.
#[derive(Debug, Serialize)]
struct Loads {
    workers: Vec<WorkerLoad>,
    calls_refused: u64,
    parts_deferred: u64,
}

#[derive(Debug, Serialize)]
struct WorkerLoad {
    /// 100 is all there is.
    percent: u32,
    /// Of a core, in percent.
    busy_percent: u32,
    tick_lag_us: u64,
    sheds: Shedding,
}

/// Nothing is tried for a while.
#[derive(Debug, Serialize)]
struct Halted {
    detail: String,
    remaining_ms: u64,
}

#[derive(Debug, Serialize)]
struct LastFailure {
    detail: String,
    ago_ms: u64,
}

/// What is kept on disk.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<Lines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<Audio>,
}

#[derive(Debug, Serialize)]
struct Lines {
    path: PathBuf,
    bytes: u64,
    failed: bool,
    clock_doubted: bool,
}

#[derive(Debug, Serialize)]
struct Audio {
    directory: PathBuf,
    parts: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_ms: Option<u64>,
    given_up: u64,
    failed: bool,
}

impl Kept {
    pub(super) fn new(publisher: &Figures, disks: &Disks) -> Self {
        let journal = disks.journal.as_ref().map(|gauge| {
            let figures = gauge.read();
            Lines {
                path: gauge.path.clone(),
                bytes: figures.bytes,
                failed: publisher.journal_failed() > 0.0,
                clock_doubted: figures.is_clock_doubted,
            }
        });
        let spool = disks.spool.as_ref().map(|gauge| {
            let figures = gauge.read();
            Audio {
                directory: gauge.directory.clone(),
                parts: figures.parts,
                bytes: figures.bytes,
                oldest_ms: figures.oldest.map(ms),
                given_up: figures.given_up.iter().sum(),
                failed: figures.is_failing,
            }
        });
        Self { journal, spool }
    }
}

/// When the daemon began, and when its configuration was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    pub(super) started: Instant,
    pub(super) configured: Instant,
}

impl StatusAnswer {
    pub(super) fn new(
        workers: Vec<WorkerFigures>,
        recogniser: &Provider,
        kept: Kept,
        kernel_drops: Option<u64>,
        since: Since,
        now: Instant,
    ) -> Self {
        let mut census = Census::default();
        let mut speech = Speech::new();
        let mut calls_begun = 0;
        let mut load = Loads {
            workers: workers.iter().map(WorkerLoad::new).collect(),
            calls_refused: 0,
            parts_deferred: 0,
        };
        for worker in workers {
            load.parts_deferred += worker.meter.deferred_parts;
            calls_begun += worker.meter.calls_begun;
            speech.transcripts += worker.meter.transcripts;
            for (reason, count) in worker.meter.gaps {
                *speech.gaps.entry(reason).or_default() += count;
            }
            census.merge(worker.census);
        }
        speech.add(&census);
        load.calls_refused = census.refused_calls;
        let age = |at| ms(now.saturating_duration_since(at));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_ms: age(since.started),
            configured_ms: age(since.configured),
            calls_begun,
            ports: census.ports,
            free_ports: census.free_ports,
            datagrams: census.totals.datagrams.total(),
            played: census.totals.datagrams.played,
            stray_senders: census
                .stray_senders
                .iter()
                .map(|sender| Stray::new(sender, now))
                .collect(),
            calls: census.calls,
            strays: census.strays,
            speech,
            recogniser: Recogniser::new(recogniser),
            load,
            kept,
            kernel_drops,
        }
    }
}

impl Speech {
    const fn new() -> Self {
        Self {
            utterances: 0,
            transcripts: 0,
            gaps: BTreeMap::new(),
            speech_ms: 0,
            transcribed_ms: 0,
            gap_ms: 0,
            parts_waiting: 0,
        }
    }

    const fn add(&mut self, census: &Census) {
        let sums = &census.totals.ledger;
        self.utterances = census.totals.utterances;
        self.parts_waiting = census.parts_waiting;
        self.speech_ms = Samples::as_ms(sums.speech);
        self.transcribed_ms = Samples::as_ms(sums.transcribed);
        self.gap_ms = Samples::as_ms(sums.gap);
    }
}

impl WorkerLoad {
    fn new(worker: &WorkerFigures) -> Self {
        let busy = Load {
            share: worker.load.busy,
            ..worker.load
        };
        Self {
            percent: worker.load.percent(),
            busy_percent: busy.percent(),
            tick_lag_us: u64::try_from(worker.load.lag.as_micros()).unwrap_or(u64::MAX),
            sheds: worker.shedding,
        }
    }
}

impl Stray {
    fn new(sender: &StraySender, now: Instant) -> Self {
        Self {
            port: sender.port,
            source: sender.source,
            cause: sender.cause,
            payload_type: sender.payload_type,
            datagrams: sender.datagrams,
            last_ms: ms(now.saturating_duration_since(sender.last)),
        }
    }
}

impl Recogniser {
    fn new(provider: &Provider) -> Self {
        let status = provider.status();
        let halted = provider.alarm().map(|(detail, remaining)| Halted {
            detail,
            remaining_ms: ms(remaining),
        });
        let last_failure = provider
            .last_failure_ago()
            .map(|(detail, ago)| LastFailure {
                detail,
                ago_ms: ms(ago),
            });
        Self {
            available: status.available,
            halted,
            last_failure,
            sessions: status.sessions,
            sessions_open: status.quota.in_use,
            sessions_waiting: status.quota.waiting,
            sessions_limit: status.quota.limit,
            quota_refusals: status.quota.refusals,
            recognised: status.recognised,
            token_remaining_ms: provider.token_life().map(ms),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
