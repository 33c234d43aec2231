//! Request smuggling over HTTP/1.1: messages that two readers could cut in different places (RFC 9112 2.2, 5, 6, 7 and 11.2).
//! For each of them one request reaches a pod, or none and the client gets a refusal and the end of its connection.

use super::recorder::Recorder;
use crate::bed::{Bed, Setup, until};
use crate::client::{Answer, Raw};

/// What must become of the bytes of a row.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// This status, and the end of the connection.
    Refused(u16),
    /// One request with this body; its connection goes on.
    One(&'static str),
    /// One request with this body, and the end of its connection.
    OneAndEnd(&'static str),
    /// One request for this target, with this body; its connection goes on.
    OneFor(&'static str, &'static str),
}

use Expect::{One, OneAndEnd, OneFor, Refused};

/// The client's own fault.
const BAD: Expect = Refused(400);

/// The request that must never be seen as one.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: hello.default\r\n\r\n";
/// Its length, and that in hexadecimal.
const EVIL_LENGTH: &str = "43";
const EVIL_SIZE: &str = "2b";

/// A request of these header lines and what follows its head.
fn post(lines: &str, after: &str) -> String {
    format!("POST /good HTTP/1.1\r\nHost: hello.default\r\n{lines}\r\n{after}")
}

fn chunked(after: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", after)
}

/// Two lengths, or none that is clear.
fn lengths() -> Vec<(String, Expect)> {
    let mut rows = vec![
        // CL.TE and TE.CL: the coding counts, and nothing after it is believed (RFC 9112 6.3).
        (
            post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{EVIL}")),
            OneAndEnd(""),
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                &format!("{EVIL_SIZE}\r\n{EVIL}\r\n0\r\n\r\n"),
            ),
            OneAndEnd(EVIL),
        ),
        (post("Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n", "0\r\n\r\n"), OneAndEnd("")),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), One("hello")),
        (post(&format!("Content-Length: {EVIL_LENGTH}\r\n"), EVIL), One(EVIL)),
        (post("Content-Length: 0005\r\n", "hello"), One("hello")),
        // Not the header field that it looks like.
        (post(&format!("Transfer_Encoding: chunked\r\nContent-Length: {EVIL_LENGTH}\r\n"), EVIL), One(EVIL)),
        (post(&format!("Content_Length: 0\r\nContent-Length: {EVIL_LENGTH}\r\n"), EVIL), One(EVIL)),
    ];
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 43",
        "Content-Length: 5, 5",
        "Content-Length: 5, 0",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5,",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: \"5\"",
        "Content-Length:",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length: \u{665}",
    ] {
        rows.push((post(&format!("{lengths}\r\n"), &format!("hello{EVIL}")), BAD));
    }
    rows
}

/// Transfer codings (TE.TE): only `chunked`, once and alone, is understood (RFC 9112 6.1).
fn codings() -> Vec<(String, Expect)> {
    let mut rows: Vec<_> =
        ["Transfer-Encoding: chunked", "Transfer-Encoding:CHUNKED  ", "transfer-encoding:\t Chunked\t"]
            .map(|coding| (post(&format!("{coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n"), One("hello")))
            .into();
    for coding in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "X: y\r\n\tTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\n , identity",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked, identity",
    ] {
        rows.push((post(&format!("{coding}\r\n"), &format!("5\r\nhello\r\n0\r\n\r\n{EVIL}")), BAD));
    }
    let old = |fields: &str, body: &str| {
        format!("POST /good HTTP/1.0\r\nHost: hello.default\r\n{fields}\r\n{body}")
    };
    rows.extend([
        (old("Transfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{EVIL}")), BAD),
        (old("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{EVIL}")), BAD),
        (old("Content-Length: 5\r\n", &format!("hello{EVIL}")), OneAndEnd("hello")),
        (old("", EVIL), OneAndEnd("")),
    ]);
    rows
}

/// Chunks (RFC 9112 7.1).
fn chunks() -> Vec<(String, Expect)> {
    let mut rows = vec![
        (chunked("5;name=value\r\nhello\r\n0;last\r\n\r\n"), One("hello")),
        (chunked("5;name=\"a;b\"\r\nhello\r\n0\r\n\r\n"), One("hello")),
        (chunked("0005\r\nhello\r\n000\r\n\r\n"), One("hello")),
        (chunked(&format!("{EVIL_SIZE}\r\n{EVIL}\r\n0\r\n\r\n")), One(EVIL)),
        (
            chunked(
                "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: identity\r\nHost: evil\r\n\r\n",
            ),
            One("hello"),
        ),
    ];
    for body in [
        "5\nhello\n0\n\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rhello\r\n0\r\n\r\n",
        "5;a\r\rhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5,0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nName : value\r\n\r\n",
    ] {
        rows.push((chunked(&format!("{body}{EVIL}")), BAD));
    }
    let endless = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    rows.push((chunked(&endless), BAD));
    rows
}

/// Request lines, hosts and field lines (RFC 9112 2.2, 3, 5).
fn heads() -> Vec<(String, Expect)> {
    let mut rows = vec![
        (format!("\r\n\r\n{}", post("Content-Length: 5\r\n", "hello")), One("hello")),
        (post("Content-Length:5\r\n", "hello"), One("hello")),
        ("POST http://hello.default/good HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5\r\n\r\nhello".into(), One("hello")),
        ("POST http://hello.default?x=/1 HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 5\r\n\r\nhello".into(), OneFor("/?x=/1", "hello")),
        ("POST http://hello.default/good HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello".into(), OneAndEnd("hello")),
        (format!("POST http://hello.default/good HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello{EVIL}"), BAD),
        // A lone LF may end a line (RFC 9112 2.2); whoever reads it so sees one request, too.
        (format!("POST /good HTTP/1.1\nHost: hello.default\nContent-Length: {EVIL_LENGTH}\n\n{EVIL}"), One(EVIL)),
    ];
    for line in [
        "POST  /good HTTP/1.1",
        "POST\t/good HTTP/1.1",
        "POST /good\tHTTP/1.1",
        "POST /good  HTTP/1.1",
        "POST /good HTTP/1.1 ",
        "POST /good HTTP/1.1\r",
        " POST /good HTTP/1.1",
        "POST /good",
        "POST /good HTTP/0.9",
        "POST /good HTTP/1.2",
        "POST /good HTTP/2.0",
        "POST /good HTTP/1.10",
        "POST /good http/1.1",
        "POST /go od HTTP/1.1",
        "POST /good\u{0} HTTP/1.1",
        "POST /good\rX HTTP/1.1",
        "P(OST /good HTTP/1.1",
        "POST hello.default:80 HTTP/1.1",
        "POST * HTTP/1.1",
        "POST http://other.default/good HTTP/1.1",
        "POST http://me@hello.default/good HTTP/1.1",
    ] {
        rows.push((format!("{line}\r\nHost: hello.default\r\nContent-Length: 5\r\n\r\nhello{EVIL}"), BAD));
    }
    for field in [
        "Name : value",
        "Name\t: value",
        ": value",
        "Name",
        "Na me: value",
        "Na\u{0}me: value",
        "Name\u{0}: value",
        "Name: val\u{0}ue",
        "Name: val\rue",
        "Name: value\r",
        "Name: value\r\rContent-Length: 0",
        "Name: value\r\n folded",
        "Name: value\r\n\tfolded: too",
        "Name(: value",
        "Host: hello.default",
        "Host: other.default",
        "Host : other.default",
        "Content-Length: 5\r\n 0",
    ] {
        rows.push((post(&format!("{field}\r\nContent-Length: 5\r\n"), &format!("hello{EVIL}")), BAD));
    }
    for host in [
        "",
        " ",
        "a b",
        "me@hello.default",
        "hello.default/evil",
        "hello.default, other.default",
        "hello.default:80:90",
        "[hello.default",
    ] {
        rows.push((
            format!("POST /good HTTP/1.1\r\nHost:{host}\r\nContent-Length: 5\r\n\r\nhello{EVIL}"),
            BAD,
        ));
    }
    rows
}

/// What concerns the connection (RFC 9110 7.6.1, 7.8).
fn connections() -> Vec<(String, Expect)> {
    let to = |line: &str, host: &str| {
        format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{EVIL}")
    };
    vec![
        (post("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"), One("hello")),
        (
            post(
                "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            One("hello"),
        ),
        (post("Connection: Host, X\r\nX: 1\r\nContent-Length: 5\r\n", "hello"), One("hello")),
        (
            post("Connection: close, Content-Length\r\nContent-Length: 5\r\n", &format!("hello{EVIL}")),
            OneAndEnd("hello"),
        ),
        // Bytes of another protocol that come before it was agreed on are no requests of this one.
        (post("Connection: Upgrade\r\nUpgrade: websocket\r\n", EVIL), OneAndEnd("")),
        (
            post(
                "Connection: Upgrade\r\nUpgrade: anything\r\nContent-Length: 5\r\n",
                &format!("hello{EVIL}"),
            ),
            OneAndEnd("hello"),
        ),
        (
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ),
            OneAndEnd(""),
        ),
        // Nor where no function was asked for it.
        (to("POST /good", "nobody.default"), Refused(404)),
        (to("TRACE /good", "hello.default"), Refused(405)),
        (to(&format!("POST /{}", "x".repeat(16 * 1024)), "hello.default"), Refused(414)),
        (format!("CONNECT hello.default:80 HTTP/1.1\r\nHost: hello.default:80\r\n\r\n{EVIL}"), Refused(405)),
    ]
}

/// The client is told what is wrong, in words of ours.
fn says_why(answer: &Answer, row: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{row}");
    let document = answer.json();
    assert_eq!(document["reason"].as_str(), answer.header("catnap-reason"), "{row}");
    assert_eq!(document["status"], answer.status, "{row}");
    let detail = document["detail"].as_str().unwrap();
    assert!(
        detail.len() > 20 && !detail.contains("evil") && !detail.contains("not made as"),
        "{row}: {detail}"
    );
    assert!(detail.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{row}: {detail}");
}

async fn check(rows: Vec<(String, Expect)>) {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    for (bytes, expect) in rows {
        let row = format!("{:?}: {expect:?}", &bytes[..bytes.len().min(300)]);
        let mut client = Raw::connect(bed.address()).await;
        client.send(&bytes).await;
        let first = client.answer().await;
        let ends = match expect {
            Refused(status) => {
                assert_eq!(first.status, status, "{row}");
                says_why(&first, &row);
                true
            }
            One(_) | OneFor(..) => {
                assert_eq!(first.status, 200, "{row}");
                false
            }
            OneAndEnd(_) => {
                assert_eq!(first.status, 200, "{row}");
                true
            }
        };
        if ends {
            let rest = String::from_utf8(client.rest().await).unwrap();
            assert!(!rest.contains(" 200 "), "{row} got another answer: {rest}");
        } else {
            client.get("hello.default", "/next").await;
            assert_eq!(client.answer().await.status, 200, "{row}: the connection goes on");
        }
        until("the pod is done", || bed.state("hello").in_flight == 0).await;
        let seen = recorder.requests();
        let lines: Vec<&str> = seen.iter().map(|request| request.line.as_str()).collect();
        match expect {
            Refused(_) => assert!(lines.is_empty(), "{row} reached the pod: {lines:?}"),
            One(body) | OneFor(_, body) => {
                let target = if let OneFor(target, _) = expect { target } else { "/good" };
                assert_eq!(lines, [&*format!("POST {target} HTTP/1.1"), "GET /next HTTP/1.1"], "{row}");
                assert_eq!(String::from_utf8_lossy(&seen[0].body), body, "{row}");
            }
            OneAndEnd(body) => {
                assert_eq!(lines, ["POST /good HTTP/1.1"], "{row}");
                assert_eq!(String::from_utf8_lossy(&seen[0].body), body, "{row}");
            }
        }
        recorder.clear();
    }
}

#[tokio::test]
async fn two_lengths_are_one_or_none() {
    check(lengths()).await;
}

#[tokio::test]
async fn only_the_chunked_coding_is_taken() {
    check(codings()).await;
}

#[tokio::test]
async fn chunks_are_what_they_say() {
    check(chunks()).await;
}

#[tokio::test]
async fn heads_have_one_meaning() {
    check(heads()).await;
}

#[tokio::test]
async fn what_concerns_the_connection_stays_on_it() {
    check(connections()).await;
}

#[tokio::test]
async fn fields_of_a_connection_do_not_reach_the_pod() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    let lines = "Connection: X-Named, keep-alive, X-Forwarded-For\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Connection: close\r\nProxy-Authorization: secret\r\nTE: gzip\r\nTrailer: X\r\nX-Kept: 1\r\n\
                 Catnap-Anything: 1\r\nCATNAP-Other: 1\r\nContent-Length: 0\r\n";
    client.send(post(lines, "")).await;
    assert_eq!(client.answer().await.status, 200);
    let seen = recorder.requests();
    let names: Vec<&str> = seen[0].fields.iter().map(|(name, _)| name.as_str()).collect();
    for gone in [
        "x-named",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "catnap-anything",
        "catnap-other",
    ] {
        assert!(!names.contains(&gone), "{gone} in {names:?}");
    }
    for there in ["x-kept", "x-forwarded-for", "host"] {
        assert!(names.contains(&there), "{there} in {names:?}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_no_request() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let body = format!("Content-Length: {EVIL_LENGTH}\r\n\r\n{EVIL}");
    // Nobody serves this host, so nobody reads the body.
    let mut client = Raw::connect(bed.address()).await;
    client.send(format!("POST /good HTTP/1.1\r\nHost: nobody.default\r\n{body}")).await;
    assert_eq!(client.answer().await.status, 404);
    client.get("hello.default", "/next").await;
    assert_eq!(client.answer().await.status, 200);
    // The pod answers before it has read the body.
    let mut client = Raw::connect(bed.address()).await;
    client
        .send(format!("POST /early HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {EVIL_LENGTH}\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    client.send(EVIL).await;
    client.send("GET /next HTTP/1.1\r\nHost: hello.default\r\nConnection: close\r\n\r\n").await;
    client.rest().await;
    until("the pod is done", || bed.state("hello").in_flight == 0).await;
    let lines: Vec<String> = recorder.requests().into_iter().map(|request| request.line).collect();
    assert!(!lines.iter().any(|line| line.contains("evil")), "{lines:?}");
}

#[tokio::test]
async fn pipelined_requests_are_as_many_as_there_are() {
    let bed = Bed::start();
    let recorder = Recorder::start().await;
    bed.function_with("hello", Setup::default(), &[recorder.pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    let three = [post("Content-Length: 5\r\n", "hello"), chunked("5\r\nhello\r\n0\r\n\r\n"), EVIL.to_owned()]
        .concat();
    client.send(three).await;
    for _ in 0..3 {
        assert_eq!(client.answer().await.status, 200);
    }
    let lines: Vec<String> = recorder.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["POST /good HTTP/1.1", "POST /good HTTP/1.1", "GET /evil HTTP/1.1"]);
}
