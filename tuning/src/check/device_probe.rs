//! Are the device's own limits known?

use super::{Finding, Needs};
use crate::host::{KernelVersion, Probed, ProbedState, Read, Readings};
use std::time::Duration;

const ID: &str = "device-probe";
/// After that a device has aged, filled up or been given other neighbours.
const AGE_MAX: Duration = Duration::from_secs(90 * DAY_S);
const DAY_S: u64 = 86_400;
const WHY: &str = "What the device can do at most, no setting tells, and a figure of another device, kernel or year is none of this \
    one. Measuring takes two minutes, while no broker runs on it.";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    readings.probes.iter().map(|probed| judge_one(probed, &readings.start.kernel)).collect()
}

fn judge_one(probed: &Probed, kernel: &Read<KernelVersion>) -> Finding {
    let path = probed.path.display().to_string();
    let command = format!("sluice probe --data-dir {}", probed.folder.display());
    let finding = match &probed.state {
        Err(unread) => Finding::unread(ID, unread),
        Ok(ProbedState::Missing) => Finding::note(ID, format!("the device was not measured: there is no {path}"))
            .wanted("the figures of `sluice probe`")
            .why(WHY)
            .fix(command, format!("rm {path}")),
        Ok(state) => match problem(state, kernel) {
            None => Finding::fine(ID, "the device was measured"),
            Some(problem) => Finding::note(ID, problem)
                .wanted("figures of this device as it is now")
                .why(WHY)
                .fix(command, format!("# cp {path} {path}.before, first, and later back")),
        },
    };
    finding.about(probed.folder.display().to_string())
}

/// Why the figures are stale.
fn problem(state: &ProbedState, kernel: &Read<KernelVersion>) -> Option<String> {
    let (age, measured_under, build) = match state {
        ProbedState::Missing => return None,
        ProbedState::Refused { why } => return Some(why.clone()),
        ProbedState::Known { age, kernel, build } => (age, kernel, build),
    };
    if *age > AGE_MAX {
        return Some(format!("the device was measured {} days ago", age.as_secs() / DAY_S));
    }
    if build.contains("debug") {
        return Some(format!("the device was measured by a debug build ({build}), whose figures are too small"));
    }
    let now = kernel.as_ref().ok()?;
    let then = measured_under.parse::<KernelVersion>().ok();
    let is_another = then.is_none_or(|then| (then.major, then.minor) != (now.major, now.minor));
    is_another.then(|| format!("the device was measured under Linux {measured_under}, and this is {now}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};

    #[test]
    fn what_was_not_measured_or_long_ago_is_a_note_with_the_command() {
        let known =
            |age, kernel: &str, build: &str| Ok(ProbedState::Known { age, kernel: kernel.to_owned(), build: build.to_owned() });
        let day = Duration::from_secs(DAY_S);
        for (state, expected) in [
            (known(day, "6.18.3", "sluice 1 (release)"), "fine [/data] device-probe: the device was measured"),
            (
                Ok(ProbedState::Missing),
                "note [/data] device-probe: the device was not measured: there is no /data.probe.toml | wanted",
            ),
            (known(91 * day, "6.18.3", "release"), "note [/data] device-probe: the device was measured 91 days ago | wanted"),
            (
                known(day, "6.12.1", "release"),
                "note [/data] device-probe: the device was measured under Linux 6.12.1, and this is",
            ),
            (known(day, "?", "release"), "note [/data] device-probe: the device was measured under Linux ?"),
            (known(day, "6.18.3", "sluice 1 (debug)"), "note [/data] device-probe: the device was measured by a debug build"),
            (Ok(ProbedState::Refused { why: "it is empty".to_owned() }), "note [/data] device-probe: it is empty | wanted"),
            (Err(unread()), "unread [/data] device-probe: could not be read"),
        ] {
            let mut readings = good();
            readings.probes[0].state = state;
            let told = tell(&judge(&readings, &needs()));
            assert!(told[0].starts_with(expected), "{told:?}");
            assert_eq!(told[0].contains("| sluice probe --data-dir /data | undo"), told[0].starts_with("note"), "{told:?}");
        }
    }
}
