//! The page for a person: what matters most comes first, and what cannot be read says so in its place.

use std::fmt::Write as _;

use catnap_autoscaler_api::state::Explained;
use catnap_crds::{RolloutStatus, Scale};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::cold_starts::ColdStart;
use super::events::Happened;
use super::page::{Page, Section};
use super::pods::PodLine;
use crate::age::age;
use crate::revisions;
use crate::table::{Cell, Table, wrapped};
use crate::terminal::{Look, Tone, printable};

/// Of what stands below a heading.
const INDENT: usize = 2;

/// The whole page.
pub(super) fn text(page: &Page, look: Look) -> String {
    let mut text = heading(page, look);
    text += &section("Addresses", &addresses(page, look), look);
    text += &section("Conditions", &conditions(&page.conditions, look), look);
    text += &section("Revisions", &of(&page.revisions, look, "none yet", revision_table), look);
    if let Some(rollout) = &page.rollout {
        text += &section("Rollout", &rolling(rollout, look), look);
    }
    text += &section("Pods", &of(&page.pods, look, "none", pods), look);
    text += &section("Scaling", &scaling(page, look), look);
    text += &section("Decisions", &of(&page.decisions, look, "none yet", decisions), look);
    text += &section("Recent cold starts", &recent(page, look), look);
    text += &section("Events", &of(&page.events, look, "none of late", events), look);
    text
}

fn heading(page: &Page, look: Look) -> String {
    let (tone, state) = match (&page.reason, page.stalled) {
        (None, _) if page.replicas == 0 => (Tone::Good, "Ready, at rest".to_owned()),
        (None, _) => (Tone::Good, "Ready".to_owned()),
        (Some(reason), false) => (Tone::Waiting, format!("Waiting: {reason}")),
        (Some(reason), true) => (Tone::Bad, format!("Stalled: {reason}")),
    };
    let name = look.paint(Tone::Strong, &printable(&page.name));
    let age = page.created.map(|created| format!(", {} old", age(created, look.now))).unwrap_or_default();
    let mut text = format!(
        "{name} in namespace {}{age}: {}\n",
        printable(&page.namespace),
        look.paint(tone, &printable(&state))
    );
    let ready = page.conditions.iter().find(|condition| condition.type_ == "Ready");
    if let Some(message) = ready.map(|it| it.message.as_str()).filter(|it| !page.ready && !it.is_empty()) {
        text += &paragraph(message, look);
    }
    if page.stalled {
        let reason = page.reason.as_deref().unwrap_or_default().to_lowercase();
        text += &paragraph(&format!("What to do: docs/troubleshooting.md#{reason}"), look);
    }
    text
}

fn section(title: &str, body: &str, look: Look) -> String {
    format!("\n{}\n{body}", look.paint(Tone::Strong, title))
}

/// Lines, each wrapped to where it begins.
fn paragraph(text: &str, look: Look) -> String {
    let text = printable(text);
    let indented = |line: &str| {
        let indent = INDENT + line.len() - line.trim_start_matches(' ').len();
        let parts =
            wrapped(line.trim_start_matches(' '), look.width.map(|width| width.saturating_sub(indent)));
        parts.into_iter().map(move |part| " ".repeat(indent) + &part + "\n").collect::<String>()
    };
    text.lines().map(indented).collect()
}

/// A part of the page, or why it is not there.
fn of<T>(
    section: &Section<Vec<T>>,
    look: Look,
    nothing: &str,
    text: impl Fn(&[T], Look) -> String,
) -> String {
    match section {
        Section::Known(items) if items.is_empty() => paragraph(nothing, look),
        Section::Known(items) => text(items, look),
        Section::Unknown(why) => paragraph(&format!("not known: {why}"), look),
    }
}

fn addresses(page: &Page, look: Look) -> String {
    let mut text: String = page.urls.iter().map(|url| paragraph(url, look)).collect();
    for host in page.hosts.iter().filter(|host| !host.accepted) {
        text += &paragraph(&format!("{} refused: {}: {}", host.host, host.reason, host.message), look);
    }
    if text.is_empty() { paragraph("none yet", look) } else { text }
}

fn conditions(conditions: &[Condition], look: Look) -> String {
    let mut table = Table::new(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]);
    for condition in conditions {
        let bad_when = if condition.type_ == "Stalled" { "True" } else { "False" };
        let informs = matches!(condition.type_.as_str(), "Active" | "Reconciling");
        let tone = if !informs && condition.status == bad_when { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            Cell::plain(&condition.type_),
            Cell::new(tone, &condition.status),
            Cell::plain(age(condition.last_transition_time.0, look.now)),
            Cell::plain(&condition.reason),
            Cell::plain(&condition.message),
        ]);
    }
    if conditions.is_empty() { paragraph("none yet", look) } else { table.text(look, INDENT) }
}

fn revision_table(all: &[revisions::Revision], look: Look) -> String {
    revisions::table(all, look).text(look, INDENT)
}

fn rolling(rollout: &RolloutStatus, look: Look) -> String {
    let RolloutStatus { from, to, percent, coming_percent, coming_replicas, stepped_at, counted, .. } =
        rollout;
    let since = age(stepped_at.0, look.now);
    let mut said = format!("{from} -> {to}: {percent} percent for {since}");
    if coming_percent > percent {
        let _ = write!(said, ", next {coming_percent} percent with {coming_replicas} ready replicas");
    }
    if let Some(unready) = &rollout.unready_since {
        let _ = write!(said, ", without a ready replica for {}", age(unready.0, look.now));
    }
    let mut text = paragraph(&said, look);
    if let Some(counts) = counted {
        let before = format!(
            "when this step began: {} of {} requests failed at {from}, {} of {} at {to}",
            counts.from_errors, counts.from_ended, counts.to_errors, counts.to_ended
        );
        text += &paragraph(&before, look);
    }
    text
}

fn pods(pods: &[PodLine], look: Look) -> String {
    let mut table =
        Table::new(&["NAME", "REVISION", "STATE", "READY", "RESTARTS", "AGE", "NODE", "LAST END"]);
    for pod in pods {
        let ready = if pod.ready { Cell::new(Tone::Good, "yes") } else { Cell::new(Tone::Waiting, "no") };
        table.row(vec![
            Cell::plain(&pod.name),
            Cell::plain(&pod.revision),
            Cell::plain(&pod.state),
            ready,
            Cell::plain(pod.restarts.to_string()),
            Cell::plain(pod.created.map(|created| age(created, look.now)).unwrap_or_default()),
            Cell::plain(pod.node.as_deref().unwrap_or_default()),
            Cell::plain(pod.last_end.as_deref().unwrap_or_default()),
        ]);
    }
    table.text(look, INDENT)
}

fn scaling(page: &Page, look: Look) -> String {
    let Scale { min, max, initial, wake, metric, window, idle, schedules, .. } = &page.scale;
    let mut text = paragraph(
        &format!("{min} to {max} replicas; {initial} to prove a new revision, {wake} to wake"),
        look,
    );
    text += &paragraph(&format!("aims at {metric:?} {:.1} in each replica, over {window}", page.aim), look);
    if *min == 0 {
        text +=
            &paragraph(&format!("rests after {} without a request ({:?})", idle.after, idle.policy), look);
    }
    for schedule in schedules {
        let (cron, zone, duration) = (&schedule.cron, &schedule.time_zone, schedule.duration);
        text +=
            &paragraph(&format!("at least {} for {duration} from `{cron}` in {zone} on", schedule.min), look);
    }
    text
}

fn decisions(decisions: &[Explained], look: Look) -> String {
    decisions.iter().map(|explained| paragraph(explained.to_string().trim_end(), look)).collect()
}

fn recent(page: &Page, look: Look) -> String {
    let mut text = of(&page.cold_starts, look, "none of late", cold_starts);
    if let Some(why) = &page.cold_starts_incomplete {
        text += &paragraph(why, look);
    }
    text
}

fn cold_starts(starts: &[ColdStart], look: Look) -> String {
    starts.iter().map(|start| paragraph(&start.line(look.now), look)).collect()
}

fn events(events: &[Happened], look: Look) -> String {
    let mut table = Table::new(&["AGE", "REASON", "TIMES", "MESSAGE"]);
    for event in events {
        let tone = if event.warning { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            Cell::plain(event.at.map(|at| age(at, look.now)).unwrap_or_default()),
            Cell::new(tone, &event.reason),
            Cell::plain(event.count.to_string()),
            Cell::plain(&event.message),
        ]);
    }
    table.text(look, INDENT)
}
