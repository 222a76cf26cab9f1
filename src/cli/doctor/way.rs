//! The way to the recogniser: as the daemon sees it, and as it is when one goes it now.

use serde_json::Value;

use super::finding::{Finding, Grade};
use crate::asr::failure::Failure;
use crate::asr::verdict::Verdict;
use crate::io::provider::Examination;

/// What the daemon says of the recogniser (`GET /v1/status`).
pub fn examine_status(status: &Value) -> Vec<Finding> {
    let recogniser = &status["recogniser"];
    vec![availability(recogniser), quota(recogniser)]
}

/// For how long the daemon tries nothing, in seconds; then nobody else ought to either.
pub fn halted_for(status: &Value) -> Option<u64> {
    let remaining = status["recogniser"]["halted"]["remaining_ms"].as_u64()?;
    Some(remaining / 1000)
}

fn availability(recogniser: &Value) -> Finding {
    let halted = &recogniser["halted"];
    let failure = &recogniser["last_failure"];
    if halted.is_object() {
        let seconds = number(&halted["remaining_ms"]) / 1000;
        let seen = halted["detail"].as_str().unwrap_or_default();
        let says = format!(
            "The recogniser refuses the daemon, which tries nothing for another {seconds} s."
        );
        return Finding::fault("recogniser", says)
            .because(seen)
            .so(advice_on(seen));
    }
    if recogniser["available"] == false {
        let seen = failure["detail"].as_str().unwrap_or_default();
        return Finding::fault(
            "recogniser",
            "The last thing the daemon tried with the recogniser failed.",
        )
        .because(format!(
            "{seen}, {} s ago",
            number(&failure["ago_ms"]) / 1000
        ))
        .so("The steps below show how far one gets now; parts are tried again by themselves.");
    }
    match number(&recogniser["recognised"]) {
        0 => Finding::new(
            "recogniser",
            Grade::Note,
            "The recogniser has given no text yet.",
        ),
        parts => Finding::ok(
            "recogniser",
            format!("Parts that the recogniser has given a text for: {parts}."),
        ),
    }
}

fn quota(recogniser: &Value) -> Finding {
    let waiting = number(&recogniser["sessions_waiting"]);
    let (open, limit) = (&recogniser["sessions_open"], &recogniser["sessions_limit"]);
    let refusals = number(&recogniser["quota_refusals"]);
    let seen = format!("{open} of {limit} sessions are open; the service has refused {refusals}");
    if waiting > 0 {
        let says = format!(
            "Parts that wait for a session: {waiting}; the quota is too small for the calls."
        );
        return Finding::warning("quota", says)
            .because(seen)
            .so("Have the quota of the account raised; asr.max-sessions must not be below it.");
    }
    let grade = if refusals > 0 { Grade::Note } else { Grade::Ok };
    Finding::new(
        "quota",
        grade,
        format!("No part waits for a session: {seen}."),
    )
}

/// What one finds who goes the way now.
pub fn examine_steps(examination: &Examination) -> Vec<Finding> {
    let mut findings: Vec<Finding> = examination
        .steps
        .iter()
        .map(|step| match &step.outcome {
            Ok(found) => Finding::ok(check(step.step), sentence(found)),
            Err(failure) => failed(step.step, failure),
        })
        .collect();
    findings.extend(examination.clock_skew.map(clock));
    findings
}

fn failed(step: &str, failure: &Failure) -> Finding {
    let says = match step {
        "dns" => "The name of the recogniser cannot be looked up.",
        "tcp" => "The recogniser cannot be connected to.",
        "proxy" => "The proxy makes no tunnel to the recogniser.",
        "tls" => "The recogniser cannot be spoken to over TLS.",
        "token" => "There are no credentials to show to the recogniser.",
        _ if is_about_credentials(failure) => "The recogniser refuses the credentials.",
        _ => "The recogniser refuses the connection.",
    };
    // A refused token is the token's fault, though the handshake tells.
    let step = match step {
        "handshake" if is_about_credentials(failure) => "token",
        other => other,
    };
    let seen = failure.to_string();
    let advice = match step {
        "dns" => "Check asr.endpoint and the name servers of this host (/etc/resolv.conf).".to_owned(),
        "tcp" => "Check that the service runs, that asr.endpoint names its port, and that no firewall is \
                  between; behind one, set asr.proxy."
            .to_owned(),
        "proxy" => "Check asr.proxy and asr.proxy-credentials-file.".to_owned(),
        "tls" => "Check that asr.endpoint begins with wss:// only where the service speaks TLS, and that \
                  asr.ca-file, or ca-certificates of the system, has the authority of its certificate."
            .to_owned(),
        _ => advice_on(&seen),
    };
    Finding::fault(check(step), says).because(seen).so(advice)
}

fn is_about_credentials(failure: &Failure) -> bool {
    let is_refusal = matches!(
        failure,
        Failure::Refused {
            status: 401 | 403,
            ..
        } | Failure::NoCredentials { .. }
    );
    is_refusal || matches!(Verdict::of(failure), Verdict::NewCredentialsOnce)
}

/// What to do about a refusal, by what the service says.
fn advice_on(seen: &str) -> String {
    let seen = seen.to_ascii_lowercase();
    let known = [
        (
            "expire",
            "The token has run out: put a new one into asr.token or asr.token-file and reload \
                    (SIGHUP), or let the daemon fetch its own ([asr.iam]).",
        ),
        (
            "decrypt token",
            "The token is cut short, or of another region: copy it whole, from the region \
                           of asr.endpoint.",
        ),
        (
            "project",
            "Token, asr.project-id and the region of asr.endpoint must belong together.",
        ),
        (
            "signature",
            "Check asr.access-key and asr.secret-key-file, and the clock of this host.",
        ),
        (
            "ak ",
            "Check asr.access-key; a key that failed six times is locked for five minutes.",
        ),
        (
            "restricted",
            "The account is in arrears: pay, wait a minute, and have a new token fetched.",
        ),
        ("real name", "The account must be verified first."),
        (
            "throttling",
            "Too many handshakes a second: the daemon slows down by itself.",
        ),
        (
            "x-auth-token",
            "No credentials are configured: set asr.token-file, asr.access-key or [asr.iam].",
        ),
        (
            "identity service",
            "Check [asr.iam]: endpoint, domain, user, password-file and project.",
        ),
        (
            "token file",
            "Check that asr.token-file is there, is not empty, and may be read.",
        ),
        (
            "apig.0101",
            "Check asr.endpoint and asr.project-id: nothing is there.",
        ),
    ];
    let found = known.iter().find(|(words, _)| seen.contains(words));
    found.map_or_else(
        || {
            "Check the credentials of [asr], asr.project-id and the account; then reload (SIGHUP)."
                .to_owned()
        },
        |(_, advice)| (*advice).to_owned(),
    )
}

/// A signature is good for some minutes, and so is a certificate that was made just now.
fn clock(skew_seconds: i64) -> Finding {
    let off = skew_seconds.unsigned_abs();
    let direction = if skew_seconds > 0 {
        "behind"
    } else {
        "ahead of"
    };
    let says = format!("The clock of this host is {off} s {direction} that of the recogniser.");
    match off {
        0..=5 => Finding::ok(
            "clock",
            "The clock of this host agrees with that of the recogniser.",
        ),
        6..=300 => Finding::warning("clock", says).so("Let it be set by NTP."),
        _ => Finding::fault("clock", says)
            .so("Let it be set by NTP: signatures and tokens are refused when the clock is wrong."),
    }
}

const fn check(step: &str) -> &'static str {
    match step.as_bytes() {
        b"dns" => "recogniser.dns",
        b"tcp" => "recogniser.tcp",
        b"proxy" => "recogniser.proxy",
        b"tls" => "recogniser.tls",
        b"token" => "recogniser.token",
        _ => "recogniser.handshake",
    }
}

fn sentence(found: &str) -> String {
    let mut letters = found.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::asr::failure::Step;
    use crate::asr::message::ServiceError;
    use crate::io::provider::Finding as StepFinding;

    fn after(step: &'static str, failure: Failure) -> Finding {
        let outcome = Err(failure);
        let steps = vec![StepFinding { step, outcome }];
        let clock_skew = None;
        examine_steps(&Examination { steps, clock_skew }).swap_remove(0)
    }

    #[test]
    fn refused_token_is_the_tokens_fault_with_what_the_service_said() {
        let error = ServiceError {
            error_code: "APIG.0301".into(),
            error_msg: "Incorrect IAM authentication information: token expires".into(),
            ..ServiceError::default()
        };
        let refused = Failure::Refused {
            status: 401,
            error,
            retry_after: None,
        };
        let found = after("handshake", refused);
        assert_eq!(
            (found.check, found.grade),
            ("recogniser.token", Grade::Fault)
        );
        assert!(found.evidence.contains("APIG.0301"), "{found}");
        assert!(found.advice.contains("run out"), "{found}");
    }

    #[test]
    fn each_step_of_the_way_fails_with_its_own_advice() {
        let steps = [
            ("dns", Step::Resolve),
            ("tcp", Step::Connect),
            ("tls", Step::Tls),
        ];
        let mut advices: Vec<String> = steps
            .map(|(step, of)| {
                let address = "h:443".to_owned();
                let detail = "no".to_owned();
                let failure = Failure::Unreachable {
                    address,
                    step: of,
                    detail,
                };
                after(step, failure).advice
            })
            .to_vec();
        advices.dedup();
        assert_eq!(advices.len(), 3);
    }

    #[test]
    fn halted_daemon_says_for_how_long_and_why() {
        let status = json!({"recogniser": {
            "available": false, "halted": {"detail": "handshake refused with 401", "remaining_ms": 9_000},
        }});
        let found = &examine_status(&status)[0];
        assert_eq!(found.grade, Grade::Fault);
        assert!(found.says.contains("another 9 s"), "{found}");
        assert_eq!(halted_for(&status), Some(9));
    }

    #[test]
    fn clock_that_is_minutes_off_is_a_fault() {
        assert_eq!(clock(2).grade, Grade::Ok);
        assert_eq!(clock(-60).grade, Grade::Warning);
        assert_eq!(clock(1_000).grade, Grade::Fault);
    }
}
