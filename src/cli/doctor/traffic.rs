//! What the daemon as a whole receives, and what becomes of it.

use serde_json::Value;

use super::finding::{Finding, Grade};
use super::legs::codec_advice;

/// Looks at `GET /v1/status`.
pub fn examine(status: &Value) -> Vec<Finding> {
    let mut findings = vec![arrival(status)];
    findings.extend(ports(status));
    findings.extend(senders(status).iter().map(stray));
    findings.extend(kernel(status));
    findings.extend(load(status));
    findings.push(speech(status));
    findings
}

/// Whether anything arrives at all.
fn arrival(status: &Value) -> Finding {
    let strays: u64 = status["strays"]
        .as_object()
        .map_or(0, |causes| causes.values().filter_map(Value::as_u64).sum());
    let of_calls = number(&status["datagrams"]);
    let up = number(&status["uptime_ms"]) / 1000;
    let ports = number(&status["ports"]);
    if of_calls + strays == 0 {
        let says = format!("No datagram has arrived; ports that are listened to: {ports}.");
        return Finding::warning("packets", says)
            .because(format!("none in the {up} s since the daemon began"))
            .so("Have the PBX send RTP to this host; check rtp.bind-address and the firewall.");
    }
    let says = format!(
        "{of_calls} datagrams came for calls, {} of them audio that is heard; {strays} belonged to no call.",
        number(&status["played"])
    );
    Finding::ok("packets", says)
}

fn ports(status: &Value) -> Option<Finding> {
    let (all, free) = (number(&status["ports"]), number(&status["free_ports"]));
    // Lines own their ports; where every port is a line's, none is ever given out.
    let is_short = all >= 20 && free * 20 < all;
    is_short.then(|| {
        Finding::warning(
            "ports",
            format!("Only {free} of {all} ports can be given to new calls."),
        )
        .so("Widen rtp.port-range; ports rest for a while after a call.")
    })
}

fn senders(status: &Value) -> Vec<Value> {
    let mut senders = status["stray_senders"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    senders.sort_by_key(|sender| std::cmp::Reverse(number(&sender["datagrams"])));
    senders.truncate(SENDERS_SHOWN);
    senders
}

/// A sender whose datagrams belong to no call.
fn stray(sender: &Value) -> Finding {
    let (source, port) = (sender["source"].as_str().unwrap_or("?"), &sender["port"]);
    let seen = format!(
        "{} datagrams, the last {} ms ago",
        number(&sender["datagrams"]),
        number(&sender["last_ms"])
    );
    let finding = match sender["cause"].as_str() {
        Some("no_call") => Finding::fault(
            "sender",
            format!("{source} sends audio to port {port}, where no call is registered."),
        )
        .so("Register the call first (POST /v1/calls) and send to the address of its answer; or \
             describe the port as a [[line]]; or set rtp.unregistered-calls = true."),
        Some("unknown_payload_type") => {
            let payload_type = &sender["payload_type"];
            let says = format!(
                "{source} sends payload type {payload_type} to port {port}, which is no G.711: no call begins."
            );
            Finding::fault("sender", says)
                .so(codec_advice(&format!("payload type {payload_type},")))
        }
        Some("source_not_allowed") => Finding::fault(
            "sender",
            format!("{source} sends to port {port}, but is not in rtp.allowed-sources."),
        )
        .so("If that is your PBX, add its network to rtp.allowed-sources and reload (SIGHUP). If not, \
             keep it out by the firewall."),
        Some("old_call") => Finding::new(
            "sender",
            Grade::Note,
            format!("{source} goes on sending a call that is over to port {port}."),
        ),
        Some("refused") => Finding::warning(
            "sender",
            format!("{source} sends to port {port} and is not heard: calls were refused."),
        )
        .so("See the finding on load."),
        _ => Finding::new(
            "sender",
            Grade::Note,
            format!("{source} sends something that is no RTP to port {port}."),
        ),
    };
    finding.because(seen)
}

fn kernel(status: &Value) -> Option<Finding> {
    let drops = status["kernel_drops"].as_u64()?;
    Some(match drops {
        0 => Finding::ok("kernel", "The kernel dropped no datagram."),
        drops => Finding::warning(
            "kernel",
            format!("The kernel dropped {drops} datagrams, because a receive buffer was full."),
        )
        .so(
            "Raise rtp.receive-buffer-bytes, and net.core.rmem_max to at least as much; look at \
             callscribe_tick_lag_seconds for a machine that is too slow.",
        ),
    })
}

/// How near the busiest media worker is to its capacity, and what was shed.
fn load(status: &Value) -> Option<Finding> {
    let load = &status["load"];
    let workers = load["workers"].as_array()?;
    let busiest = workers
        .iter()
        .max_by_key(|worker| number(&worker["percent"]))?;
    let percent = number(&busiest["percent"]);
    let says = format!("The busiest media worker is at {percent} % of its capacity");
    let (refused, deferred) = (
        number(&load["calls_refused"]),
        number(&load["parts_deferred"]),
    );
    let finding = match busiest["sheds"].as_str() {
        Some("speech") => Finding::fault(
            "load",
            format!("{says}: calls are refused, and what is said is recognised later."),
        ),
        Some("calls") => Finding::fault("load", format!("{says}: calls are refused.")),
        _ if percent >= NEARLY_FULL || refused + deferred > 0 => Finding::warning(
            "load",
            format!("{says}; {refused} calls were refused, {deferred} parts deferred so far."),
        ),
        _ => return Some(Finding::ok("load", format!("{says}."))),
    };
    Some(
        finding
            .because(format!(
                "{} % of a core, ticks {} ms late",
                number(&busiest["busy_percent"]),
                number(&busiest["tick_lag_us"]) / 1000
            ))
            .so("Send fewer calls to this host, give it more cores, or raise overload.max-legs if that is set."),
    )
}

/// From this load on it is time for more machines.
const NEARLY_FULL: u64 = 70;

/// Whether what was said became text.
fn speech(status: &Value) -> Finding {
    let speech = &status["speech"];
    let seconds = |key: &str| number(&speech[key]) as f64 / 1000.0;
    let (spoken, gap) = (seconds("speech_ms"), seconds("gap_ms"));
    let waiting = number(&speech["parts_waiting"]);
    if number(&speech["utterances"]) == 0 {
        return Finding::new(
            "speech",
            Grade::Note,
            "No speech was found since the daemon began.",
        );
    }
    let says = format!(
        "{spoken:.1} s of speech: {:.1} s have their text, {gap:.1} s are gaps; parts that wait: {waiting}.",
        seconds("transcribed_ms")
    );
    let reasons = speech["gaps"].as_object().into_iter().flatten();
    let reasons: Vec<String> = reasons
        .filter(|(reason, _)| *reason != "rtp_loss")
        .map(|(reason, count)| format!("{count} × {reason}"))
        .collect();
    let share = if spoken > 0.0 { gap / spoken } else { 0.0 };
    let finding = match share {
        share if share > GAP_FAULT => Finding::fault("speech", says),
        share if share > 0.0 => Finding::warning("speech", says),
        _ => return Finding::ok("speech", says),
    };
    finding
        .because(format!(
            "gaps since the daemon began: {}",
            reasons.join(", ")
        ))
        .so("The `gap` lines say what was tried; the findings on the recogniser say how it is now.")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Above this share of the speech, gaps are not the exception any more.
const GAP_FAULT: f64 = 0.05;

/// More senders than this tell no more.
const SENDERS_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn worst(status: &Value) -> Finding {
        let findings = examine(status);
        findings
            .into_iter()
            .max_by_key(|found| found.grade)
            .unwrap()
    }

    #[test]
    fn nothing_at_all_is_told_with_the_time_it_was_waited_for() {
        let found = worst(&json!({"ports": 10, "uptime_ms": 12_000}));
        assert_eq!((found.check, found.grade), ("packets", Grade::Warning));
        assert!(found.evidence.contains("12 s"), "{found}");
    }

    #[test]
    fn stray_sender_is_named_with_its_port_and_what_to_do() {
        for cause in ["no_call", "unknown_payload_type", "source_not_allowed"] {
            let sender = json!({
                "source": "192.0.2.1:4000", "port": 20_002, "cause": cause, "payload_type": 111,
                "datagrams": 50, "last_ms": 10,
            });
            let found = worst(&json!({"strays": {cause: 50}, "stray_senders": [sender]}));
            assert_eq!((found.check, found.grade), ("sender", Grade::Fault));
            assert!(found.says.contains("192.0.2.1:4000") && found.says.contains("20002"));
            assert!(!found.advice.is_empty());
        }
    }

    #[test]
    fn speech_without_text_is_a_fault_with_the_reasons() {
        let found = worst(&json!({
            "datagrams": 100, "strays": {},
            "speech": {
                "utterances": 2, "speech_ms": 4_000, "transcribed_ms": 1_000, "gap_ms": 3_000,
                "gaps": {"asr_unavailable": 1, "rtp_loss": 3},
            },
        }));
        assert_eq!((found.check, found.grade), ("speech", Grade::Fault));
        assert!(found.evidence.contains("1 × asr_unavailable"), "{found}");
        assert!(!found.evidence.contains("rtp_loss"), "{found}");
    }
}
