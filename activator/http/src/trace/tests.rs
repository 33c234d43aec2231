use super::*;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const ALL: Option<Sampling> = Some(Sampling { ratio: 1.0, caller_decides: true });
const NONE: Option<Sampling> = Some(Sampling { ratio: 0.0, caller_decides: true });

fn headers(traceparent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap());
    headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
    headers
}

fn told(headers: &HeaderMap) -> Context {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let told = Context::parse(values.next().unwrap().as_bytes()).unwrap();
    assert!(values.next().is_none(), "one");
    told
}

#[test]
fn a_sampled_trace_goes_on_with_a_span_of_ours() {
    // Whatever the ratio: the caller decided.
    let mut headers = headers(CALLER);
    let trace = pass_on(&mut headers, NONE).unwrap();
    assert_eq!(
        (trace.id, trace.parent),
        (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, Some(0x00f0_67aa_0ba9_02b7))
    );
    assert_eq!(told(&headers), Context { id: trace.id, parent: trace.span, sampled: true });
    assert_eq!(headers[TRACESTATE], "vendor=1");
}

#[test]
fn what_is_not_sampled_or_not_wanted_passes_as_it_is() {
    for (caller, sampling) in [(UNSAMPLED, ALL), (UNSAMPLED, None), (CALLER, None)] {
        let mut headers = headers(caller);
        assert_eq!(pass_on(&mut headers, sampling), None);
        assert_eq!(headers[TRACEPARENT], caller);
        assert_eq!(headers[TRACESTATE], "vendor=1");
    }
}

#[test]
fn any_other_trace_is_begun_anew() {
    for bad in [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "nonsense",
        "",
    ] {
        let mut untraced = headers(bad);
        assert_eq!(pass_on(&mut untraced, None), None);
        assert!(
            untraced.is_empty(),
            "what is begun here would keep the function from sampling: {untraced:?}"
        );
        for (sampling, sampled) in [(NONE, false), (ALL, true)] {
            let mut headers = headers(bad);
            let trace = pass_on(&mut headers, sampling);
            assert_eq!(trace.is_some(), sampled, "{bad}");
            assert!(trace.is_none_or(|trace| trace.parent.is_none()), "{bad}");
            assert_eq!(told(&headers).sampled, sampled, "{bad}");
            assert!(!headers.contains_key(TRACESTATE), "a state belongs to its trace");
        }
    }
    let mut twice = headers(CALLER);
    twice.append(TRACEPARENT, HeaderValue::from_static(UNSAMPLED));
    pass_on(&mut twice, ALL).unwrap();
    assert_ne!(told(&twice).id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
}

#[test]
fn a_later_version_is_understood() {
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be";
    let mut headers = headers(later);
    assert!(pass_on(&mut headers, ALL).is_some());
    assert!(headers[TRACEPARENT].as_bytes().starts_with(b"00-4bf92f3577b34da6a3ce929d0e0e4736-"));
}

#[test]
fn the_ratio_is_kept() {
    let sampling = Some(Sampling { ratio: 0.25, caller_decides: true });
    let sampled = (0..4_000).filter(|_| pass_on(&mut HeaderMap::new(), sampling).is_some()).count();
    assert!((800..1_200).contains(&sampled), "{sampled}");
}

#[test]
fn a_caller_from_outside_does_not_force_traces() {
    let outside = |ratio| Some(Sampling { ratio, caller_decides: false });
    let sampled = (0..4_000).filter(|_| pass_on(&mut headers(CALLER), outside(0.25)).is_some()).count();
    assert!((800..1_200).contains(&sampled), "{sampled}");
    let mut passed = headers(CALLER);
    assert_eq!(pass_on(&mut passed, outside(0.0)), None);
    assert_eq!(passed, headers(CALLER), "the function may sample it");
    assert_eq!(pass_on(&mut headers(UNSAMPLED), outside(1.0)), None, "who wants none gets none");
}

#[test]
fn steps_are_bounded_and_the_last_may_be_open() {
    let mut headers = HeaderMap::new();
    let mut trace = pass_on(&mut headers, ALL).unwrap();
    let request = Instant::now();
    for _ in 0..100 {
        trace.begin(StepKind::Connect, request);
        trace.end(request);
    }
    assert_eq!(trace.steps.len(), STEPS);
    let mut trace = pass_on(&mut headers, ALL).unwrap();
    trace.begin(StepKind::Hold, request);
    assert_eq!(trace.steps[0].took, None);
}
