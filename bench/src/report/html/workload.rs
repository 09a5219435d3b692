//! One workload on the page: its tables, its curves, its rounds over time.

use super::markup::Markup;
use super::{bars, percentile_plot, plot, table, time_plot};
use crate::report::grid::Grid;
use crate::report::text::{notes, reading};
use crate::report::{names, tables};
use crate::result::WorkloadResult;

pub(super) fn section(page: &mut Markup, index: usize, workload: &str, results: &[&WorkloadResult]) {
    page.open("section", &[("id", &format!("w{index}"))]).element("h2", &[], workload);
    if let Some(about) = results.iter().map(|result| &result.about).find(|about| !about.is_empty()) {
        page.element("p", &[], about);
    }
    table(page, &tables::latencies(results));
    for line in reading(results) {
        page.element("p", &[("class", &"reading")], &line);
    }
    meanings(page, results);
    if let Some(svg) = percentile_plot::draw(results) {
        page.open("figure", &[]);
        legend(page, results);
        page.append(svg).close();
    }
    titled_table(page, "Rates", &tables::rates(results));
    over_time(page, results);
    if let Some(split) = bars::stages(results) {
        page.append(split);
        table(page, &tables::stages(results));
    }
    titled_table(page, "Other latencies", &tables::other_latencies(results));
    titled_table(page, "What it cost", &tables::costs(results));
    titled_table(page, "Distance to each limit", &tables::distances(results));
    titled_table(page, "Without service", &tables::restarts(results));
    page.close();
}

fn titled_table(page: &mut Markup, title: &str, grid: &Grid) {
    if !grid.is_empty() {
        page.element("h3", &[], title);
        table(page, grid);
    }
}

/// What an acknowledgement is worth, and what else has to be known, system by system.
fn meanings(page: &mut Markup, results: &[&WorkloadResult]) {
    let mut lines: Vec<(String, String)> = Vec::new();
    for result in results {
        let acknowledged = result.acknowledgement.iter().map(|meaning| format!("acknowledged means {meaning}"));
        lines.extend(acknowledged.chain(notes(result)).map(|line| (names::system(result), line)));
    }
    if lines.is_empty() {
        return;
    }
    page.open("ul", &[("class", &"notes")]);
    for (system, line) in lines {
        page.open("li", &[]).element("b", &[], &system).text(&format!(": {line}")).close();
    }
    page.close();
}

fn legend(page: &mut Markup, results: &[&WorkloadResult]) {
    page.open("p", &[("class", &"legend")]);
    for (result, variant) in results.iter().zip(plot::variants(results)) {
        if !result.percentiles.is_empty() {
            let class = format!("key {}{}", plot::colour(result), plot::dash(variant));
            page.element("span", &[("class", &class)], &names::system(result));
        }
    }
    page.close();
}

fn over_time(page: &mut Markup, results: &[&WorkloadResult]) {
    let range = time_plot::latency_us_range(results);
    for result in results {
        if let Some(svg) = time_plot::draw(result, range) {
            page.open("figure", &[]);
            page.element("figcaption", &[], &format!("{} over time", names::system(result)));
            page.append(svg).close();
        }
    }
}
