//! The table of reasons, which callers and dashboards rely on, written down once more; and the page that is made of it.

use std::fmt::Write;
use std::path::Path;

use super::*;

/// Set by `cargo xtask generate`: the page is written instead of checked.
const WRITE: &str = "CATNAP_WRITE_REASONS_PAGE";

/// Reason, status, gRPC status, seconds of `Retry-After`.
const TABLE: [(&str, u16, u8, Option<u64>); 20] = [
    ("UnknownHost", 404, 12, None),
    ("QueueFull", 503, 14, Some(1)),
    ("ProcessOverloaded", 503, 14, Some(1)),
    ("Draining", 503, 14, Some(1)),
    ("ActivationTimeout", 503, 14, Some(5)),
    ("ImagePullFailed", 503, 14, Some(30)),
    ("CrashLoop", 503, 14, Some(10)),
    ("Unschedulable", 503, 14, Some(10)),
    ("QuotaExceeded", 503, 14, Some(30)),
    ("Deleted", 503, 14, None),
    ("PodUnreachable", 503, 14, Some(5)),
    ("ConnectFailed", 502, 14, None),
    ("UpstreamReset", 502, 14, None),
    ("FirstByteTimeout", 504, 4, None),
    ("RequestTimeout", 504, 4, None),
    ("BadRequest", 400, 13, None),
    ("MethodNotAllowed", 405, 13, None),
    ("HeadTooLarge", 431, 13, None),
    ("UriTooLong", 414, 13, None),
    ("Stalled", 503, 14, Some(30)),
];

#[test]
fn the_table_is_what_was_promised() {
    let told = Reason::ALL.map(|reason| {
        let wait = reason.retry_after().map(|wait| wait.as_secs());
        (reason.name(), reason.status(), reason.grpc_status(), wait)
    });
    assert_eq!(told, TABLE);
    for reason in Reason::ALL {
        assert_eq!(Reason::from_name(reason.name()), Some(reason));
    }
    assert_eq!(Reason::from_name("ClientLeft"), None);
}

fn page() -> String {
    let mut page = "# Reasons\n\n\
        Made from the code by `cargo xtask generate`. An answer that the function did not give has one of these in\n\
        `Catnap-Reason`, in `reason` of its problem document (RFC 9457), whose `type` is `https://catnap.dev/reasons/` and the\n\
        reason, and in the metrics. What was wrong with this one request is in `detail`.\n\n\
        | reason | status | gRPC | `Retry-After` | meaning |\n|---|---|---|---|---|\n"
        .to_owned();
    for reason in Reason::ALL {
        let grpc = match reason.grpc_status() {
            4 => "DEADLINE_EXCEEDED",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            _ => "UNAVAILABLE",
        };
        let wait = reason.retry_after().map_or_else(String::new, |wait| format!("{} s", wait.as_secs()));
        let (status, title) = (reason.status(), reason.title());
        let _ = writeln!(page, "| `{reason}` | {status} | {grpc} | {wait} | {title} |");
    }
    page
}

#[test]
fn the_reasons_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/reasons.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, page()).unwrap();
        return;
    }
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(present, page(), "docs/reference/reasons.md is stale: run `cargo xtask generate`");
}
