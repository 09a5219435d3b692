//! Is reading the clock cheap?

use super::{Change, Finding, Needs};
use crate::host::Readings;

const ID: &str = "clock-source";
const PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// Read without a system call, in some tens of nanoseconds.
const CHEAP: &[&str] = &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    let source = match &readings.processors.clock_source {
        Ok(source) => source,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let is_cheap = |name: &str| CHEAP.contains(&name);
    if is_cheap(&source.current) {
        return vec![Finding::fine(ID, &source.current)];
    }
    let why = "Every reading of the clock is a system call and an access to a slow device then, one to several microseconds \
        where 30 ns are usual.";
    let finding = Finding::warn(ID, &source.current).wanted(format!("one of {}", CHEAP.join(", "))).why(why);
    let better = source.available.iter().find(|name| is_cheap(name));
    vec![match better {
        // The kernel may have left it for a reason: told, never changed by us.
        Some(better) => {
            let change = Change::new(PATH, better, &source.current);
            finding.fix(format!("sudo dmesg | grep -i clocksource; {}", change.command()), change.undo())
        }
        None => finding.fix(
            "sudo dmesg | grep -i -e tsc -e clocksource  # this host offers no better one; look at what the kernel's log says \
                of tsc (sudo dmesg | grep -i tsc)",
            "# nothing to undo",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};
    use crate::host::{Processors, processors::ClockSource};

    #[test]
    fn a_slow_clock_is_told_and_left_to_the_operator() {
        for (current, available, severity, part) in [
            ("tsc", &["tsc", "hpet"][..], "fine", "tsc"),
            ("kvm-clock", &["kvm-clock"], "fine", "kvm-clock"),
            ("hpet", &["hpet", "tsc"], "warn", "echo tsc | sudo tee"),
            ("acpi_pm", &["acpi_pm"], "warn", "no better one"),
        ] {
            let clock_source =
                Ok(ClockSource { current: current.to_owned(), available: available.iter().map(ToString::to_string).collect() });
            let findings = judge(&Readings { processors: Processors { clock_source, ..good().processors }, ..good() }, &needs());
            assert_eq!(findings[0].severity.name(), severity, "{current}");
            assert!(findings[0].to_string().contains(part) && findings[0].fixes.iter().all(|fix| fix.change.is_none()));
        }
        let processors = Processors { clock_source: Err(unread()), ..good().processors };
        assert_eq!(judge(&Readings { processors, ..good() }, &needs())[0].severity.name(), "unread");
    }
}
