//! A run as one page that needs nothing but itself: no script, no font, no style, no picture from anywhere else.
//!
//! The same markup is well-formed XML, which tests check. Colours follow the reader's light or dark setting; a plot shows a
//! figure when it is pointed at. Absent: interaction beyond that, which would need a script.

mod axis;
mod bars;
mod markup;
mod percentile_plot;
mod plot;
mod time_plot;
mod workload;

use markup::Markup;

use super::grid::{Grid, Kind};
use super::text::{build, by_workload, machine};
use super::{names, tables};
use crate::result::{Run, WorkloadResult};

const STYLE: &str = include_str!("style.css");

/// The whole page.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut page = Markup::new();
    page.open("html", &[("lang", &"en")]).open("head", &[]).empty("meta", &[("charset", &"utf-8")]);
    page.empty("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
    page.element("title", &[], &format!("Sluice benchmark, {}", run.started_at));
    page.open("style", &[]).verbatim(STYLE).close().close();
    page.open("body", &[]).open("main", &[]);
    let limits: Vec<&WorkloadResult> = run.results.iter().filter(|result| names::is_yardstick(result)).collect();
    let measured: Vec<&WorkloadResult> = run.results.iter().filter(|result| !names::is_yardstick(result)).collect();
    let workloads = by_workload(&run.results);
    head(&mut page, run, &workloads);
    at_a_glance(&mut page, &measured, &limits);
    for (index, (workload, results)) in workloads.iter().enumerate() {
        workload::section(&mut page, index, workload, results);
    }
    settings(&mut page, run);
    page.close().close().close();
    format!("<!DOCTYPE html>\n{}", page.finish())
}

fn head(page: &mut Markup, run: &Run, workloads: &[(&str, Vec<&WorkloadResult>)]) {
    page.element("h1", &[], "Sluice benchmark");
    let mut systems: Vec<&str> = Vec::new();
    for result in workloads.iter().flat_map(|(_, results)| results) {
        if !systems.contains(&result.system.as_str()) {
            systems.push(&result.system);
        }
    }
    let facts = [
        ("Measured", workloads.iter().map(|(workload, _)| *workload).collect::<Vec<_>>().join(", ")),
        ("Systems", systems.join(", ")),
        ("Started", run.started_at.clone()),
        ("Machine", machine(&run.machine)),
        ("Build", build(run)),
    ];
    page.open("dl", &[("class", &"facts")]);
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        page.element("dt", &[], name).element("dd", &[], fact);
    }
    page.close();
    if run.interrupted || !run.warnings.is_empty() {
        page.open("ul", &[("class", &"warnings")]);
        if run.interrupted {
            page.element("li", &[], "The run was interrupted: what is whole is shown, the rest was not measured.");
        }
        for warning in &run.warnings {
            page.element("li", &[], warning);
        }
        page.close();
    }
    page.open("nav", &[]);
    for (index, (workload, _)) in workloads.iter().enumerate() {
        page.element("a", &[("href", &format!("#w{index}"))], workload);
    }
    page.close();
}

fn at_a_glance(page: &mut Markup, measured: &[&WorkloadResult], limits: &[&WorkloadResult]) {
    page.element("h2", &[], "At a glance");
    let reading = "Medians over whole rounds. Latency counts from the intended send time, unless the workload is a closed loop. \
                   A ratio is to a limit of this machine, measured in the same rounds: it carries over to another machine, a figure does not.";
    page.element("p", &[("class", &"reading")], reading);
    table(page, &tables::glance(measured));
    if let Some(bars) = bars::distances(measured) {
        page.element("h2", &[], "Distance to the limits").append(bars);
    }
    if !limits.is_empty() {
        page.element("h2", &[], "Limits of this machine");
        let what = "What the device, a bare server, loopback and memory do here, in the same rounds.";
        page.element("p", &[("class", &"reading")], what);
        table(page, &tables::limits(limits));
        page.open("ul", &[("class", &"notes")]);
        for limit in limits.iter().filter(|limit| !limit.about.is_empty()) {
            page.open("li", &[]).element("b", &[], &tables::limit_name(limit)).text(&format!(": {}", limit.about)).close();
        }
        page.close();
    }
}

fn settings(page: &mut Markup, run: &Run) {
    let mut all: Vec<(String, &str)> = vec![("the broker".to_owned(), &run.settings)];
    all.extend(run.results.iter().map(|result| (names::system(result), result.settings.as_str())));
    let mut shown: Vec<&str> = Vec::new();
    for (system, settings) in all {
        if settings.trim().is_empty() || shown.contains(&settings) {
            continue;
        }
        if shown.is_empty() {
            page.element("h2", &[], "Settings");
        }
        shown.push(settings);
        page.open("details", &[]).element("summary", &[], &format!("Settings of {system}")).element("pre", &[], settings).close();
    }
}

/// A table that scrolls sideways where it is too wide.
fn table(page: &mut Markup, grid: &Grid) {
    if grid.is_empty() {
        return;
    }
    let class = |kind: Kind| if kind == Kind::Number { "n" } else { "t" };
    page.open("div", &[("class", &"scroll")]).open("table", &[]).open("thead", &[]).open("tr", &[]);
    for (heading, kind) in grid.columns() {
        page.element("th", &[("class", &class(*kind))], heading);
    }
    page.close().close().open("tbody", &[]);
    for row in grid.rows() {
        let ours = row.iter().take(2).any(|cell| cell.split(',').next() == Some("sluice"));
        page.open("tr", &[("class", &if ours { "ours" } else { "other" })]);
        for (cell, (_, kind)) in row.iter().zip(grid.columns()) {
            page.element("td", &[("class", &class(*kind))], cell);
        }
        page.close();
    }
    page.close().close().close();
}

#[cfg(test)]
#[path = "../html_test.rs"]
mod tests;
