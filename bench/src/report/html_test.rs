use super::*;
use crate::report::{compare, csv, hgrm, synthetic};
use crate::result::{Percentile, Second, Yardstick};
use sluice_tuning::LatencySummary;

/// Checks that every element is closed in order and every `&` begins an entity; gives the names of the elements.
fn check_well_formed(page: &str) -> Vec<String> {
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = body;
    while let Some(begin) = rest.find('<') {
        check_text(&rest[..begin]);
        let end = rest[begin..].find('>').map(|end| begin + end).expect("a tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
        assert_eq!(attributes.matches('"').count() % 2, 0, "{tag}");
        assert!(!attributes.contains(['<', '\'']), "{tag}");
        check_text(attributes);
        all.push(name.to_owned());
        if !tag.ends_with('/') {
            open.push(name.to_owned());
        }
    }
    check_text(rest);
    assert!(open.is_empty(), "{open:?}");
    all
}

fn check_text(text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(entity, "{}", &text[at..(at + 20).min(text.len())]);
    }
}

fn escaped(text: &str) -> String {
    let mut markup = Markup::new();
    markup.text(text);
    markup.finish()
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let page = render(&synthetic::whole_run());
    let elements = check_well_formed(&page);
    for forbidden in ["script", "link", "img", "iframe"] {
        assert!(!elements.iter().any(|name| name == forbidden), "{forbidden}");
    }
    for foreign in ["http:", "https:", "url(", "@import", "src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!STYLE.contains(['<', '&']), "a style is taken as it is");
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
}

#[test]
fn every_result_appears_with_what_it_means() {
    let run = synthetic::whole_run();
    let page = render(&run);
    for result in run.results.iter().filter(|result| !names::is_yardstick(result)) {
        assert!(page.contains(&escaped(&names::system(result))), "{}", names::full(result));
        assert!(page.contains(&format!("<h2>{}</h2>", escaped(&result.workload))), "{}", result.workload);
        for text in [&result.acknowledgement, &result.outcome_because, &result.refused_because].into_iter().flatten() {
            assert!(page.contains(&escaped(text)), "{text}");
        }
    }
    let plots = run.results.iter().filter(|result| !result.timeline.is_empty()).count();
    assert_eq!(page.matches(" over time</figcaption>").count(), plots);
    for expected in [
        "latency by percentile",
        "Distance to the limits",
        "Limits of this machine",
        "write + flush",
        "phase-name",
        "hold",
        "99.99 %",
        "class=\"h7\"",
        "refused first, then admitted",
        "The run was interrupted",
        "broker died (1 of 3 rounds whole)",
        "Settings of the broker",
        "Distance to each limit",
        "one consumer was slower",
        "<b>floor, spinning</b>: what floor is for",
    ] {
        assert!(page.contains(expected), "{expected:?} is missing");
    }
}

#[test]
fn text_from_outside_is_escaped_everywhere() {
    let mut run = synthetic::whole_run();
    let evil = "</title><script>alert('x')</script>\"&\u{1}";
    run.started_at = evil.to_owned();
    run.machine.cpu = evil.to_owned();
    run.warnings.push(evil.to_owned());
    run.settings = evil.to_owned();
    for result in &mut run.results {
        for text in [&mut result.workload, &mut result.system, &mut result.about] {
            text.push_str(evil);
        }
        result.acknowledgement = Some(evil.to_owned());
        result.yardstick = Some(Yardstick { name: evil.to_owned(), unit: evil.to_owned(), figure: 1.0 });
        result.notes.push(evil.to_owned());
        result.limits.iter_mut().for_each(|limit| limit.name.push_str(evil));
        result.timeline.iter_mut().for_each(|second| second.phase.push_str(evil));
        result.stages.iter_mut().for_each(|stage| stage.name.push_str(evil));
    }
    let page = render(&run);
    assert!(!check_well_formed(&page).iter().any(|name| name == "script"));
    assert!(!page.contains("alert('x')") && !page.contains('\u{1}'));
}

#[test]
fn figures_beyond_reason_make_a_dull_report_and_no_failure() {
    let wild = [f64::MAX, -1.0, 0.0, f64::MIN_POSITIVE, 1e-9];
    let mut run = synthetic::whole_run();
    for result in &mut run.results {
        result.percentiles = wild.iter().map(|&n| Percentile { quantile: n, latency_us: n, count: u64::MAX }).collect();
        let second = |&n: &f64| Second {
            at_s: n,
            offered: u64::MAX,
            backlog_mb: n,
            backlog_records: u64::MAX,
            heat: vec![(n, u64::MAX), (n, 1)],
            ..Second::default()
        };
        result.timeline = wild.iter().map(second).collect();
        let latency = LatencySummary { p50: -1.0, p90: f64::MAX, p99: 0.0, p99_9: 1e-300, p99_99: f64::MIN, max: 1.0 };
        (result.latency_us, result.end_to_end_us) = (Some(latency), Some(latency));
        result.rounds.iter_mut().for_each(|round| round.latency_us = Some(latency));
        (result.reached_per_s, result.throughput_mb_s) = (Some(f64::MAX), Some(-0.0));
        (result.refused_count, result.round_count) = (u64::MAX, usize::MAX);
        result.ratio = Some(f64::MAX);
        result.ratio_p99 = Some(-1.0);
        result.stages.iter_mut().for_each(|stage| stage.share = f64::MAX);
    }
    check_well_formed(&render(&run));
    assert!(run.to_string().contains("spike") && compare(&run, &run).to_string().contains("No change beyond noise"));
    assert!(!csv::results(&run).is_empty() && !csv::timelines(&run).is_empty());
    assert!(run.results.iter().all(|result| hgrm::text(result).is_some()));
    let empty = Run { results: Vec::new(), warnings: Vec::new(), interrupted: false, ..run };
    check_well_formed(&render(&empty));
}
