//! A shard for a test, and a folder on a real disk for it.

use std::future::Future;

use sluice_model::ShardIndex;
use sluice_shard::{DirectDisk, Shard, ShardConfig, WaitMode, run_shard};
use tempfile::TempDir;

/// Runs one future on a shard of its own, unpinned, and returns what it returned.
#[allow(dead_code, reason = "not every test file runs a future alone")]
pub(crate) fn on_shard<T, Fut>(main: impl FnOnce(Shard) -> Fut + Send + 'static) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let config = ShardConfig { index: ShardIndex(0), core: None, io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep };
    run_shard(config, main).expect("a shard").join()
}

/// A folder in the build's own folder, which must lie on a disk.
#[allow(dead_code, reason = "not every test file needs a disk")]
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    if let Err(problem) = DirectDisk::check_folder(folder.path()) {
        panic!("these tests need a disk under the target folder: {problem}");
    }
    folder
}
