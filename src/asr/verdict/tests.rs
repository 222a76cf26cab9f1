use super::*;

fn refused(status: u16, code: &str, message: &str) -> Failure {
    Failure::Refused {
        status,
        error: said(code, message),
        retry_after: None,
    }
}

fn said(code: &str, message: &str) -> ServiceError {
    ServiceError {
        trace_id: String::new(),
        error_code: code.into(),
        error_msg: message.into(),
    }
}

#[test]
fn handshake_refusals_mean_what_the_error_pages_say() {
    use Verdict::{NewCredentialsOnce, RetryLater, StopAll, Throttled};
    for (status, code, message, verdict) in [
        (
            401,
            "APIG.0301",
            "Incorrect IAM authentication information: decrypt token fail",
            NewCredentialsOnce,
        ),
        (
            401,
            "APIGW.0301",
            "token expires, expires_at: 2026",
            NewCredentialsOnce,
        ),
        (
            401,
            "APIG.0307",
            "The token must be updated.",
            NewCredentialsOnce,
        ),
        (401, "", "", NewCredentialsOnce),
        (
            401,
            "APIG.0301",
            "x-auth-token not found",
            StopAll(LOCK_OUT),
        ),
        (
            401,
            "APIGW.0301",
            "verify aksk signature fail, canonicalRequest: GET",
            StopAll(LOCK_OUT),
        ),
        (
            401,
            "APIG.0301",
            "Get secretKey failed,ak:x,err:ak not exist",
            StopAll(LOCK_OUT),
        ),
        (
            401,
            "APIG.0301",
            "AK access failed to reach the limit,forbidden.",
            StopAll(LOCK_OUT),
        ),
        (
            401,
            "APIG.0301",
            "calc ak sk signature fail:signature expired",
            StopAll(LOCK_OUT),
        ),
        (
            403,
            "APIG.0302",
            "The user is not allowed",
            StopAll(MISCONFIGURED),
        ),
        (403, "", "", StopAll(MISCONFIGURED)),
        (
            404,
            "APIG.0101",
            "The API does not exist",
            StopAll(MISCONFIGURED),
        ),
        (404, "", "<html>", StopAll(MISCONFIGURED)),
        (
            400,
            "APIG.0204",
            "SSL protocol is not supported: TLSv1.1",
            StopAll(MISCONFIGURED),
        ),
        (
            413,
            "APIG.0201",
            "Request entity too large",
            StopAll(MISCONFIGURED),
        ),
        (
            429,
            "APIG.0308",
            "The throttling threshold has been reached",
            Throttled(PAUSE),
        ),
        (429, "", "", Throttled(PAUSE)),
        (500, "APIG.0201", "unexpected error", RetryLater(PAUSE)),
        (502, "APIG.0202", "Backend unavailable", RetryLater(PAUSE)),
        (504, "APIG.0201", "Backend timeout", RetryLater(PAUSE)),
        (503, "", "", RetryLater(PAUSE)),
        (400, "SIS.0101", "token check failed", NewCredentialsOnce),
        (
            400,
            "SIS.0103",
            "real name authentication missing",
            StopAll(MISCONFIGURED),
        ),
        (
            403,
            "SIS.0101",
            "resource type is RESTRICTED",
            StopAll(MISCONFIGURED),
        ),
    ] {
        assert_eq!(
            Verdict::of(&refused(status, code, message)),
            verdict,
            "{status} {code}"
        );
    }
}

#[test]
fn service_errors_mean_what_the_error_pages_say() {
    for (codes, verdict) in [
        (
            "0001 0033 0100 0302 0303 0304 0305 0306 0307 0002 9999",
            Verdict::RetryNow,
        ),
        (
            "0012 0031 0032 0203 0301 0309",
            Verdict::GiveUp(GapReason::AsrRejected),
        ),
        ("0201", Verdict::WithoutVocabulary),
        ("0312", Verdict::Throttled(PAUSE)),
        ("0003 0101", Verdict::NewCredentialsOnce),
        ("0102", Verdict::StopAll(LOCK_OUT)),
    ] {
        for code in codes.split(' ') {
            let failure = Failure::Service(said(&format!("SIS.{code}"), ""));
            assert_eq!(Verdict::of(&failure), verdict, "{code}");
        }
    }
}

#[test]
fn service_is_not_asked_sooner_than_it_wants() {
    let failure = Failure::Refused {
        status: 503,
        error: said("", ""),
        retry_after: Some(Duration::from_secs(30)),
    };
    assert_eq!(
        Verdict::of(&failure),
        Verdict::RetryLater(Duration::from_secs(30))
    );
}

#[test]
fn restart_of_the_service_is_waited_out() {
    let closed = |code| {
        Verdict::of(&Failure::Closed {
            code,
            reason: String::new(),
        })
    };
    assert_eq!(closed(None), Verdict::RetryNow);
    assert_eq!(closed(Some(1006)), Verdict::RetryNow);
    assert!(matches!(closed(Some(1012)), Verdict::RetryLater(_)));
}
