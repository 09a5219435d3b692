//! Do the processors run at their speed when work comes?

use super::{Change, Finding, Needs, format_cores};
use crate::host::Readings;

const ID: &str = "cpu-governor";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    let governors = match &readings.processors.governors {
        Ok(governors) => governors,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    if governors.is_empty() {
        let text = if readings.surroundings.is_virtual {
            "a virtual machine: the host sets the frequency"
        } else {
            "nothing scales the frequency here"
        };
        return vec![Finding::not_applicable(ID, text)];
    }
    let judge_one = |(governor, cores): (&String, &Vec<usize>)| {
        let text = format!("{governor} on {}", format_cores(cores));
        if governor == "performance" {
            return Finding::fine(ID, text);
        }
        let why = "A shard that sleeps between requests wakes on a processor that has been slowed down, and speeds up only \
            after milliseconds of load.";
        let file = |core: &usize| format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        let finding = Finding::warn(ID, text).wanted("performance").why(why);
        cores.iter().fold(finding, |finding, core| finding.change(Change::new(file(core), "performance", governor.clone())))
    };
    governors.iter().map(judge_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::{Processors, Surroundings};

    #[test]
    fn performance_is_wanted_on_every_core() {
        let judge_with = |governors, is_virtual| {
            let processors = Processors { governors, ..good().processors };
            judge(&Readings { processors, surroundings: Surroundings { is_virtual, is_container: false }, ..good() }, &needs())
        };
        let of = |list: &[(&str, &[usize])]| Ok(list.iter().map(|(name, cores)| (name.to_string(), cores.to_vec())).collect());
        assert_eq!(tell(&judge_with(of(&[("performance", &[0, 1])]), false)), ["fine cpu-governor: performance on 0-1"]);
        let mixed = judge_with(of(&[("performance", &[0]), ("powersave", &[1, 2])]), false);
        assert_eq!(mixed[1].severity.name(), "warn");
        let commands: Vec<_> = mixed[1].fixes.iter().map(|fix| (fix.command.as_str(), fix.undo.as_str())).collect();
        assert_eq!(
            commands[1],
            (
                "echo performance | sudo tee /sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
                "echo powersave | sudo tee /sys/devices/system/cpu/cpu2/cpufreq/scaling_governor"
            )
        );
        assert!(tell(&judge_with(of(&[]), true))[0].contains("the host sets the frequency"));
        assert_eq!(judge_with(of(&[]), false)[0].severity.name(), "not-applicable");
        assert_eq!(judge_with(Err(unread()), true)[0].severity.name(), "unread");
    }
}
