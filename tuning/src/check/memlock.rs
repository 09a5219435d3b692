//! May this process lock the memory that shards do direct I/O from?

use super::{Finding, Needs};
use crate::host::StartReadings;
use crate::host::limits::MEMLOCK_LEN_PER_SHARD;

const ID: &str = "memlock";
/// Rings that each register the arena.
const RINGS_PER_SHARD: u64 = 3;

pub(super) fn judge(readings: &StartReadings, needs: &Needs) -> Vec<Finding> {
    let found_len = match &readings.limits.memlock_len {
        Ok(found_len) => *found_len,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let needed_len = memlock_needed_len(needs);
    let text = |len: u64| format!("the limit of locked memory is {} KiB", len / 1024);
    vec![match found_len {
        None => Finding::fine(ID, "memory may be locked without limit"),
        Some(len) if len < MEMLOCK_LEN_PER_SHARD => {
            let why = "An executor locks that much for itself, and does not start with less.";
            told(Finding::fatal(ID, text(len)).why(why), MEMLOCK_LEN_PER_SHARD, len)
        }
        Some(len) if len < needed_len => {
            let why = "I/O buffers that are not locked are looked up and pinned by the kernel for each request, which makes \
                I/O a little slower.";
            told(Finding::warn(ID, text(len)).why(why), needed_len, len)
        }
        Some(len) => Finding::fine(ID, text(len)),
    }]
}

/// Bytes of locked memory the shards need.
pub fn memlock_needed_len(needs: &Needs) -> u64 {
    let arena = (needs.io_memory_len as u64).next_multiple_of(4096).saturating_mul(RINGS_PER_SHARD);
    (needs.shards.len() as u64).saturating_mul(arena.saturating_add(MEMLOCK_LEN_PER_SHARD))
}

fn told(finding: Finding, wanted_len: u64, found_len: u64) -> Finding {
    let kibibytes = wanted_len.div_ceil(1024);
    let command = format!(
        "ulimit -l {kibibytes}  # LimitMEMLOCK={wanted_len} in a systemd unit, --ulimit memlock={wanted_len} for a container"
    );
    let undo = format!("ulimit -l {}  # or take the line out again", found_len / 1024);
    finding.wanted(format!("at least {kibibytes} KiB")).fix(command, undo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};
    use crate::host::Limits;

    #[test]
    fn too_little_is_fatal_only_below_what_an_executor_locks_itself() {
        // Every ring of every shard registers the arena.
        let needed = 2 * (3 * (16 << 20) + (512 << 10));
        let needs = Needs { shards: vec![None, None], io_memory_len: 16 << 20, ..needs() };
        assert_eq!(memlock_needed_len(&needs), needed);
        for (found, severity, parts) in [
            (None, "fine", &[][..]),
            (Some(needed), "fine", &[]),
            (Some(needed - 1), "warn", &["ulimit -l 99328 ", "LimitMEMLOCK=101711872", "memlock=101711872"]),
            (Some(512 << 10), "warn", &["512 KiB", "99328"]),
            // A fatal limit is told with the least that would do.
            (Some(65_536), "fatal", &["locked memory is 64 KiB", "ulimit -l 512 ", "LimitMEMLOCK=524288"]),
        ] {
            let limits = Limits { memlock_len: Ok(found), ..good().start.limits };
            let findings = judge(&StartReadings { limits, ..good().start }, &needs);
            assert_eq!(findings[0].severity.name(), severity, "{found:?}");
            for part in parts {
                assert!(findings[0].to_string().contains(part), "{}", findings[0]);
            }
        }
        let findings = judge(
            &StartReadings { limits: Limits { memlock_len: Err(unread()), ..good().start.limits }, ..good().start },
            &needs,
        );
        assert_eq!(findings[0].severity.name(), "unread");
    }
}
