//! What each failure means: the one table.
//!
//! Codes and advice are those of the service's error pages; where these are silent, the row says
//! what does least harm to a live call. `APIGW.nnnn` is read as `APIG.nnnn`: the same gateway.

use std::time::Duration;

use crate::asr::failure::Failure;
use crate::asr::message::ServiceError;
use crate::event::GapReason;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run the part again on a new connection, the first time at once.
    RetryNow,
    /// Run the part again after this long at least.
    RetryLater(Duration),
    /// As [`Verdict::RetryLater`], and open fewer sessions: the service has told us its limit.
    Throttled(Duration),
    /// Renew the credentials and run the part again. Renewed credentials that are refused as well
    /// mean [`LOCK_OUT`].
    NewCredentialsOnce,
    /// Do without the hot-word table from now on, and run the part again.
    WithoutVocabulary,
    /// Report a gap: this part would be refused again.
    GiveUp(GapReason),
    /// Report gaps, raise the alarm and open nothing for this long: every part would be refused.
    StopAll(Duration),
}

impl Verdict {
    /// Looks the failure up.
    pub fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Refused {
                status,
                error,
                retry_after,
            } => Self::of_refusal(*status, error).no_sooner_than(*retry_after),
            Failure::Service(error) => of_code(error, None).unwrap_or(Self::RetryNow),
            Failure::Closed { code, .. } => Self::of_close(*code),
            Failure::Unreachable { .. } => Self::RetryLater(Duration::ZERO),
            Failure::NoCredentials { passing: true, .. } => Self::RetryLater(Duration::ZERO),
            Failure::NoCredentials { passing: false, .. } => Self::StopAll(MISCONFIGURED),
            Failure::Halted(_) => Self::StopAll(Duration::ZERO),
            Failure::TooLong => Self::GiveUp(GapReason::AsrRejected),
            Failure::EndedEarly(_)
            | Failure::Malformed(_)
            | Failure::Broken(_)
            | Failure::Silent(_) => Self::RetryNow,
        }
    }

    fn of_refusal(status: u16, error: &ServiceError) -> Self {
        of_code(error, Some(status)).unwrap_or(match status {
            401 => Self::NewCredentialsOnce,
            408 => Self::RetryLater(Duration::ZERO),
            429 => Self::Throttled(PAUSE),
            500..=599 => Self::RetryLater(PAUSE),
            _ => Self::StopAll(MISCONFIGURED),
        })
    }

    /// Close codes of RFC 6455 §7.4.1. 1012 (restart) and 1013 (try again later) are in IANA's
    /// registry of them.
    const fn of_close(code: Option<u16>) -> Self {
        match code {
            Some(1011 | 1012) => Self::RetryLater(Duration::from_millis(500)),
            Some(1013) => Self::RetryLater(PAUSE),
            _ => Self::RetryNow,
        }
    }

    fn no_sooner_than(self, asked: Option<Duration>) -> Self {
        // An hour is as long as a header may keep us away.
        let asked = asked.unwrap_or_default().min(Duration::from_secs(3600));
        match self {
            Self::RetryLater(pause) => Self::RetryLater(pause.max(asked)),
            Self::Throttled(pause) => Self::Throttled(pause.max(asked)),
            Self::RetryNow
            | Self::NewCredentialsOnce
            | Self::WithoutVocabulary
            | Self::GiveUp(_)
            | Self::StopAll(_) => self,
        }
    }
}

/// The pause the service's FAQ advises after throttling and outages: 2 to 5 s.
pub const PAUSE: Duration = Duration::from_secs(2);

/// How long nothing is tried after credentials were refused for good. An access key locks for five
/// minutes after more than five refusals; one refusal in that time can never lock it.
pub const LOCK_OUT: Duration = Duration::from_secs(300);

/// How long nothing is tried when a setting or the account must be put right by a person.
pub const MISCONFIGURED: Duration = Duration::from_secs(60);

fn of_code(error: &ServiceError, status: Option<u16>) -> Option<Verdict> {
    let code = error.error_code.replacen("APIGW.", "APIG.", 1);
    let message = error.error_msg.to_ascii_lowercase();
    let server_fault = status.is_some_and(|status| status >= 500);
    TABLE
        .iter()
        .find(|row| {
            let at_fault = !row.server_fault || server_fault;
            at_fault && row.codes.contains(&code.as_str()) && message.contains(row.says)
        })
        .map(|row| row.verdict)
}

/// One line of the table; the first that fits counts.
struct Row {
    /// The codes it is about.
    codes: &'static [&'static str],
    /// What the message contains, in lower case.
    says: &'static str,
    /// Whether it is only about a status of 500 and more.
    server_fault: bool,
    /// What to do.
    verdict: Verdict,
}

const fn row(codes: &'static [&'static str], says: &'static str, verdict: Verdict) -> Row {
    Row {
        codes,
        says,
        server_fault: false,
        verdict,
    }
}

const REJECTED: Verdict = Verdict::GiveUp(GapReason::AsrRejected);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // The account: a person must act, whatever the code.
    row(&["APIG.0301", "APIG.0302", "SIS.0101"], "restricted", Verdict::StopAll(MISCONFIGURED)),
    row(&["APIG.0301", "SIS.0101"], "project_id doesn't match", Verdict::StopAll(LOCK_OUT)),
    // Authentication at the gateway.
    row(&["APIG.0301"], "x-auth-token not found", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301"], "verify aksk signature fail", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301"], "get secretkey failed", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301"], "ak not exist", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301"], "ak access failed to reach the limit", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301"], "signature expired", Verdict::StopAll(LOCK_OUT)),
    row(&["APIG.0301", "APIG.0307"], "", Verdict::NewCredentialsOnce),
    row(&["APIG.0302", "APIG.0304", "APIG.0306", "APIG.0309"], "", Verdict::StopAll(MISCONFIGURED)),
    // The gateway itself.
    row(&["APIG.0101", "APIG.0204"], "", Verdict::StopAll(MISCONFIGURED)),
    row(&["APIG.0103", "APIG.0104", "APIG.0105"], "", Verdict::RetryLater(PAUSE)),
    row(&["APIG.0202", "APIG.0203"], "", Verdict::RetryLater(PAUSE)),
    Row { codes: &["APIG.0201"], says: "", server_fault: true, verdict: Verdict::RetryLater(PAUSE) },
    row(&["APIG.0201"], "backend", Verdict::RetryLater(PAUSE)),
    row(&["APIG.0201"], "", Verdict::StopAll(MISCONFIGURED)),
    row(&["APIG.0308"], "", Verdict::Throttled(PAUSE)),
    // The service: who we are and what we bought.
    row(&["SIS.0003", "SIS.0101"], "", Verdict::NewCredentialsOnce),
    row(&["SIS.0102"], "", Verdict::StopAll(LOCK_OUT)),
    row(&["SIS.0022", "SIS.0023", "SIS.0024", "SIS.0103"], "", Verdict::StopAll(MISCONFIGURED)),
    // The service: what we asked for.
    row(&["SIS.0012", "SIS.0031", "SIS.0032", "SIS.0301"], "", REJECTED),
    row(&["SIS.0201"], "", Verdict::WithoutVocabulary),
    row(&["SIS.0203", "SIS.0204", "SIS.0205"], "", REJECTED),
    row(&["SIS.0206", "SIS.0207", "SIS.0208", "SIS.0309"], "", REJECTED),
    // The service: its own trouble.
    row(&["SIS.0001", "SIS.0002", "SIS.0033", "SIS.0100"], "", Verdict::RetryNow),
    row(&["SIS.0302", "SIS.0303", "SIS.0304"], "", Verdict::RetryNow),
    row(&["SIS.0305", "SIS.0306", "SIS.0307"], "", Verdict::RetryNow),
    row(&["SIS.0312"], "", Verdict::Throttled(PAUSE)),
];

#[cfg(test)]
mod tests;
