//! Do other programs' writes reach the device in floods?

use super::{Change, Finding, Needs, format_len};
use crate::host::{Readings, Unread};

const ID: &str = "dirty-pages";
/// Bytes of other programs' dirty pages from which on a flood stands before produce.
const BACKGROUND_LEN_MAX: u64 = 1 << 30;
const BACKGROUND_LEN: u64 = 256 << 20;

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    vec![try_judge(readings).unwrap_or_else(|unread| Finding::unread(ID, &unread))]
}

fn try_judge(readings: &Readings) -> Result<Finding, Unread> {
    let dirty = readings.memory.dirty.clone()?;
    let (len, text) = if dirty.background_len > 0 {
        (dirty.background_len, format!("vm.dirty_background_bytes = {}", dirty.background_len))
    } else {
        let len = readings.memory.total_len.clone()? / 100 * u64::from(dirty.background_ratio);
        (len, format!("vm.dirty_background_ratio = {}, which is {}", dirty.background_ratio, format_len(len)))
    };
    if len <= BACKGROUND_LEN_MAX {
        return Ok(Finding::fine(ID, text));
    }
    let why = "Sluice writes past the page cache; what other programs write there is held back that long and then floods the \
        device: beside 1.5 GB/s of unpaced writes the median durable write took 560 to 1060 µs, beside paced ones 130 to 250.";
    let path = "/proc/sys/vm/dirty_background_bytes";
    let change = if dirty.background_len > 0 {
        Change::new(path, BACKGROUND_LEN.to_string(), dirty.background_len.to_string())
    } else {
        // Setting one of the two sets the other to 0.
        let undo_path = "/proc/sys/vm/dirty_background_ratio".to_owned();
        Change { undo_path, undo_value: dirty.background_ratio.to_string(), ..Change::new(path, BACKGROUND_LEN.to_string(), "0") }
    };
    Ok(Finding::note(ID, text)
        .wanted(format!("at most {}, where other programs write", format_len(BACKGROUND_LEN_MAX)))
        .why(why)
        .change(change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::{Memory, Read, memory::DirtySettings};

    #[test]
    fn floods_are_told_and_undone_in_the_spelling_of_before() {
        let judge_with = |total_len: Read<u64>, background_ratio, background_len| {
            let dirty = Ok(DirtySettings { background_ratio, background_len });
            tell(&judge(&Readings { memory: Memory { total_len, dirty, ..good().memory }, ..good() }, &needs()))[0].clone()
        };
        assert_eq!(judge_with(Ok(8 << 30), 10, 0), "fine dirty-pages: vm.dirty_background_ratio = 10, which is 819 MiB");
        let told = judge_with(Ok(64 << 30), 10, 0);
        assert!(
            told.starts_with("note dirty-pages: vm.dirty_background_ratio = 10, which is 6.4 GiB | wanted at most 1.0 GiB"),
            "{told}"
        );
        assert!(
            told.ends_with(
                "| sudo sysctl -w vm.dirty_background_bytes=268435456 | undo sudo sysctl -w vm.dirty_background_ratio=10"
            ),
            "{told}"
        );
        let told = judge_with(Err(unread()), 0, 4 << 30);
        assert!(told.ends_with("| undo sudo sysctl -w vm.dirty_background_bytes=4294967296"), "{told}");
        assert_eq!(judge_with(Err(unread()), 0, 1 << 20), "fine dirty-pages: vm.dirty_background_bytes = 1048576");
        assert!(judge_with(Err(unread()), 10, 0).starts_with("unread"));
    }
}
