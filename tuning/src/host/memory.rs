//! Memory: how much there is, swap, huge pages, and when the kernel writes other programs' pages out.

use super::root::{Choice, Read, Root, Unread, if_there};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub total_len: Read<u64>,
    /// Active swap, by its path.
    pub swaps: Read<Vec<String>>,
    pub swappiness: Read<u32>,
    /// None where the kernel has no transparent huge pages.
    pub huge_pages: Read<Option<Choice>>,
    pub dirty: Read<DirtySettings>,
}

/// When the kernel begins to write dirty pages out: one of the two is 0 and does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtySettings {
    pub background_ratio: u32,
    pub background_len: u64,
}

pub(super) fn read(root: &Root) -> Memory {
    Memory {
        total_len: read_total(root),
        swaps: read_swaps(root),
        swappiness: root.parsed("/proc/sys/vm/swappiness"),
        huge_pages: if_there(root.parsed("/sys/kernel/mm/transparent_hugepage/enabled")),
        dirty: read_dirty(root),
    }
}

fn read_total(root: &Root) -> Read<u64> {
    const PATH: &str = "/proc/meminfo";
    let text = root.text(PATH)?;
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.map(|count| count.saturating_mul(1024)).ok_or_else(|| Unread::malformed(PATH, &text))
}

/// A kernel without swap has no such file, but does tell of its memory.
fn read_swaps(root: &Root) -> Read<Vec<String>> {
    const PATH: &str = "/proc/swaps";
    let text = match root.text(PATH) {
        Err(unread) if unread.is_missing && read_total(root).is_ok() => return Ok(Vec::new()),
        text => text?,
    };
    let mut lines = text.lines();
    if !lines.next().is_some_and(|head| head.starts_with("Filename")) {
        return Err(Unread::malformed(PATH, &text));
    }
    Ok(lines.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect())
}

fn read_dirty(root: &Root) -> Read<DirtySettings> {
    Ok(DirtySettings {
        background_ratio: root.parsed("/proc/sys/vm/dirty_background_ratio")?,
        background_len: root.parsed("/proc/sys/vm/dirty_background_bytes")?,
    })
}
