//! What the workers carry: calls, legs, datagrams, speech, delays.

use std::fmt;

use super::Histogram;
use super::page::Page;
use crate::call::census::{Census, Totals};
use crate::call::overload::Shedding;
use crate::call::snapshot::CallState;
use crate::call::stray::StrayCause;
use crate::event::{EndReason, GapReason, HealthState};
use crate::io::media_worker::{Meter, WorkerFigures};
use crate::media::Samples;
use crate::media::receiver::Counters;

pub(super) fn encode(workers: &[WorkerFigures], page: &mut Page<'_>) -> fmt::Result {
    let mut census = Census::default();
    workers
        .iter()
        .for_each(|worker| census.merge(worker.census.clone()));
    encode_present(&census, page)?;
    encode_datagrams(&census, page)?;
    encode_account(&census.totals, page)?;
    encode_lines(workers, page)?;
    page.counter(
        "callscribe_calls_refused",
        "Calls that were refused because there was too much to do",
        census.refused_calls as f64,
    )?;
    encode_delays(workers, page)?;
    encode_ticks(workers, page)
}

fn encode_present(census: &Census, page: &mut Page<'_>) -> fmt::Result {
    let calls = |state| census.calls.get(&state).copied().unwrap_or(0) as f64;
    page.gauges(
        "callscribe_calls",
        "Calls that are not over",
        "state",
        CallState::ALL.map(|state| (state.name(), calls(state))),
    )?;
    let legs = |health| census.legs.get(&health).copied().unwrap_or(0) as f64;
    page.gauges(
        "callscribe_legs",
        "Legs of calls that go on or are expected, by channel_health",
        "health",
        HealthState::ALL.map(|health| (health.name(), legs(health))),
    )?;
    page.gauge(
        "callscribe_parts_waiting",
        "Parts of utterances that wait for their text, those that are being spoken included",
        census.parts_waiting as f64,
    )?;
    page.gauge(
        "callscribe_ports",
        "UDP ports that are received on",
        census.ports as f64,
    )?;
    page.gauge(
        "callscribe_ports_free",
        "UDP ports that a call could be registered on now",
        census.free_ports as f64,
    )
}

fn encode_datagrams(census: &Census, page: &mut Page<'_>) -> fmt::Result {
    page.counters(
        "callscribe_datagrams",
        "Datagrams on the ports of calls, by what became of them",
        "fate",
        fates(&census.totals.datagrams),
    )?;
    let strays = |cause| census.strays.get(&cause).copied().unwrap_or(0) as f64;
    page.counters(
        "callscribe_stray_datagrams",
        "Datagrams that belonged to no call and were dropped",
        "cause",
        StrayCause::ALL.map(|cause| (cause.name(), strays(cause))),
    )
}

fn fates(counters: &Counters) -> [(&'static str, f64); 11] {
    [
        ("played", counters.played),
        ("late", counters.late),
        ("duplicate", counters.duplicate),
        ("other_ssrc", counters.other_ssrc),
        ("source_rejected", counters.source_rejected),
        ("unknown_payload_type", counters.unknown_payload_type),
        ("out_of_sequence", counters.out_of_sequence),
        ("malformed", counters.malformed),
        ("rtcp", counters.rtcp),
        ("stun", counters.stun),
        ("not_rtp", counters.not_rtp),
    ]
    .map(|(fate, count)| (fate, count as f64))
}

fn encode_account(totals: &Totals, page: &mut Page<'_>) -> fmt::Result {
    let sums = &totals.ledger;
    let entries = [
        ("received", sums.received),
        ("lost", sums.lost),
        ("speech", sums.speech),
        ("transcribed", sums.transcribed),
        ("gap", sums.gap),
    ];
    page.counters(
        "callscribe_ledger_seconds",
        "Audio by where it went: speech is of what was received, and ends as transcribed or gap",
        "entry",
        entries.map(|(entry, samples)| (entry, seconds(samples))),
    )?;
    page.counter(
        "callscribe_utterances",
        "Utterances begun",
        totals.utterances as f64,
    )?;
    page.counter(
        "callscribe_streams",
        "RTP streams heard",
        totals.streams as f64,
    )
}

fn seconds(samples: Samples) -> f64 {
    samples.0 as f64 / f64::from(crate::media::SAMPLE_RATE)
}

fn encode_lines(workers: &[WorkerFigures], page: &mut Page<'_>) -> fmt::Result {
    let sum = |count: fn(&Meter) -> u64| {
        let counts = workers.iter().map(|worker| count(&worker.meter));
        counts.sum::<u64>() as f64
    };
    page.counter(
        "callscribe_calls_begun",
        "Calls of which something was heard",
        sum(|meter| meter.calls_begun),
    )?;
    let ended = |reason| sum_of(workers, |meter| meter.calls_ended.get(&reason).copied());
    page.counters(
        "callscribe_calls_ended",
        "Calls that are over",
        "reason",
        EndReason::ALL.map(|reason| (reason.name(), ended(reason))),
    )?;
    page.counter(
        "callscribe_transcripts",
        "Parts of utterances that have their final text",
        sum(|meter| meter.transcripts),
    )?;
    page.counter(
        "callscribe_transcripts_late",
        "Those of them whose audio waited on disk for the recogniser",
        sum(|meter| meter.late_transcripts),
    )?;
    let gaps = |reason| sum_of(workers, |meter| meter.gaps.get(&reason).copied());
    page.counters(
        "callscribe_gaps",
        "Stretches without a text",
        "reason",
        GapReason::ALL.map(|reason| (reason.name(), gaps(reason))),
    )?;
    page.counter(
        "callscribe_digits",
        "Telephone keys",
        sum(|meter| meter.digits),
    )?;
    page.counter(
        "callscribe_parts_deferred",
        "Parts of utterances that were not recognised at once because there was too much to do",
        sum(|meter| meter.deferred_parts),
    )
}

fn sum_of(workers: &[WorkerFigures], count: impl Fn(&Meter) -> Option<u64>) -> f64 {
    let counts = workers.iter().filter_map(|worker| count(&worker.meter));
    counts.sum::<u64>() as f64
}

fn encode_delays(workers: &[WorkerFigures], page: &mut Page<'_>) -> fmt::Result {
    let transcript = merged(workers, |worker| &worker.meter.transcript_delay);
    page.histogram(
        "callscribe_transcript_delay_seconds",
        "From the end of a part, which is hangover-ms after the last word, to its final text",
        &transcript,
    )?;
    let fragment = merged(workers, |worker| &worker.delays.fragment);
    page.histogram(
        "callscribe_fragment_delay_seconds",
        "From the packet that completes a fragment to the fragment on its way to the recogniser",
        &fragment,
    )?;
    let end = merged(workers, |worker| &worker.delays.end);
    page.histogram(
        "callscribe_end_delay_seconds",
        "From the end of a part to its END on its way to the recogniser",
        &end,
    )
}

fn encode_ticks(workers: &[WorkerFigures], page: &mut Page<'_>) -> fmt::Result {
    let lag = merged(workers, |worker| &worker.meter.tick_lag);
    page.histogram(
        "callscribe_tick_lag_seconds",
        "How much later than due the media workers' ticks began",
        &lag,
    )?;
    let numbers: Vec<String> = (0..workers.len())
        .map(|number| number.to_string())
        .collect();
    let of_each = |value: &dyn Fn(&WorkerFigures) -> f64| -> Vec<(&str, f64)> {
        let values = workers.iter().map(value);
        numbers.iter().map(String::as_str).zip(values).collect()
    };
    page.counters(
        "callscribe_worker_busy_seconds",
        "Time of a core that each media worker has used; 1 a second is all there is",
        "worker",
        of_each(&|worker| worker.busy.as_secs_f64()),
    )?;
    page.gauges(
        "callscribe_worker_load",
        "How near each media worker is to its capacity: 1 is all there is",
        "worker",
        of_each(&|worker| worker.load.share),
    )?;
    let sheds = |what| {
        workers
            .iter()
            .filter(|worker| worker.shedding >= what)
            .count() as f64
    };
    page.gauges(
        "callscribe_workers_shedding",
        "Media workers that shed something because there is too much to do",
        "what",
        [Shedding::Calls, Shedding::Speech].map(|what| (what.name(), sheds(what))),
    )
}

fn merged(
    workers: &[WorkerFigures],
    histogram: impl Fn(&WorkerFigures) -> &Histogram,
) -> Histogram {
    let mut histograms = workers.iter().map(histogram);
    let mut sum = histograms
        .next()
        .cloned()
        .unwrap_or_else(|| Histogram::new(&[]));
    histograms.for_each(|one| sum.merge(one));
    sum
}
