//! Bars made of plain elements, which a narrow screen wraps by itself: distances to limits, and where the time went.

use super::axis::Scale;
use super::markup::Markup;
use super::plot;
use crate::report::{figures, names, tables};
use crate::result::WorkloadResult;

/// Results held against a latency, then those held against a throughput. `None` when there is none of either.
pub(super) fn distances(results: &[&WorkloadResult]) -> Option<Markup> {
    let of = |unit: &str| -> Vec<&WorkloadResult> {
        let held = results.iter().filter(|result| result.yardstick.as_ref().is_some_and(|yardstick| yardstick.unit == unit));
        held.copied().filter(|result| result.ratio.is_some_and(|ratio| ratio > 0.0)).collect()
    };
    let (latencies, throughputs) = (of("us"), of("mb_s"));
    if latencies.is_empty() && throughputs.is_empty() {
        return None;
    }
    let mut page = Markup::new();
    if !latencies.is_empty() {
        page.element("h3", &[], "Latency: how many times the limit's (logarithmic; p50 filled, p99 as a tick)");
        latency_bars(&mut page, &latencies);
    }
    if !throughputs.is_empty() {
        page.element("h3", &[], "Throughput: what part of the limit");
        throughput_bars(&mut page, &throughputs);
    }
    Some(page)
}

fn latency_bars(page: &mut Markup, results: &[&WorkloadResult]) {
    let ratios = results.iter().flat_map(|result| [result.ratio, result.ratio_p99]).flatten().filter(|ratio| *ratio > 0.0);
    let (least, greatest) = ratios.fold((1.0f64, 2.0f64), |(least, greatest), ratio| (least.min(ratio), greatest.max(ratio)));
    let scale = Scale::logarithmic(least, greatest, 0.0, 100.0);
    for result in results {
        let (Some(ratio), Some(yardstick)) = (result.ratio, &result.yardstick) else { continue };
        let title = format!("{} of {}", figures::ratio(ratio), tables::yardstick(yardstick));
        let p99 = result.ratio_p99.filter(|ratio| *ratio > 0.0);
        let value = match p99 {
            Some(p99) => format!("{} (p99 {}) of {}", figures::ratio(ratio), figures::ratio(p99), yardstick.name),
            None => format!("{} of {}", figures::ratio(ratio), yardstick.name),
        };
        bar(page, result, &title, (scale.at(1.0), scale.at(ratio)), p99.map(|p99| scale.at(p99)), &value);
    }
}

fn throughput_bars(page: &mut Markup, results: &[&WorkloadResult]) {
    let greatest = results.iter().filter_map(|result| result.ratio).fold(1.0, f64::max);
    for result in results {
        let (Some(ratio), Some(yardstick)) = (result.ratio, &result.yardstick) else { continue };
        let title = format!("{} of {}", figures::per_cent(ratio), tables::yardstick(yardstick));
        bar(page, result, &title, (0.0, 100.0 * ratio / greatest), None, &title);
    }
}

/// `from` and `to` in per cent of the track.
fn bar(page: &mut Markup, result: &WorkloadResult, title: &str, (from, to): (f64, f64), tick: Option<f64>, value: &str) {
    page.open("div", &[("class", &"bar"), ("title", &title)]);
    page.element("span", &[("class", &"name")], &names::full(result));
    page.open("span", &[("class", &"track")]);
    if from > 0.0 {
        page.element("i", &[("class", &"limit"), ("style", &format!("left:{from:.2}%")), ("title", &"the limit itself")], "");
    }
    let place = format!("left:{:.2}%;width:{:.2}%", from.min(to), (to - from).abs().max(0.4));
    page.element("i", &[("class", &format!("fill {}", plot::colour(result))), ("style", &place)], "");
    if let Some(tick) = tick {
        page.element("i", &[("class", &format!("at {}", plot::colour(result))), ("style", &format!("left:{tick:.2}%"))], "");
    }
    page.close();
    page.element("span", &[("class", &"value")], value);
    page.close();
}

/// One bar for each result with stages, split by their shares. `None` without any.
pub(super) fn stages(results: &[&WorkloadResult]) -> Option<Markup> {
    let with_stages: Vec<&&WorkloadResult> = results.iter().filter(|result| !result.stages.is_empty()).collect();
    let first = with_stages.first()?;
    let mut page = Markup::new();
    page.element("h3", &[], "Where the time of a produce goes inside the broker");
    page.open("p", &[("class", &"legend")]);
    for (index, stage) in first.stages.iter().enumerate() {
        page.element("span", &[("class", &format!("key s{}", index % 6))], &tables::stage_name(&stage.name));
    }
    page.close();
    for result in with_stages {
        page.open("div", &[("class", &"bar wide")]);
        page.element("span", &[("class", &"name")], &names::system(result));
        page.open("span", &[("class", &"split")]);
        for (index, stage) in result.stages.iter().enumerate() {
            let share = if stage.share.is_finite() { stage.share.clamp(0.0, 1.0) } else { 0.0 };
            let (p50, p99) = (figures::latency(stage.latency_us.p50), figures::latency(stage.latency_us.p99));
            let title = format!("{}: {}, p50 {p50}, p99 {p99}", tables::stage_name(&stage.name), figures::per_cent(share));
            let width = format!("flex-grow:{:.4}", share * 100.0);
            let text = if share >= 0.06 { figures::per_cent(share) } else { String::new() };
            page.element("i", &[("class", &format!("s{}", index % 6)), ("style", &width), ("title", &title)], &text);
        }
        page.close().close();
    }
    Some(page)
}
