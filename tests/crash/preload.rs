//! A library that stands between the broker and some calls of the C library, built with the `rustc` that built this.
//!
//! It shifts the wall clock and makes flushes, blocking writes or reads fail, as a file says, which may change at any time.

use crate::common::output;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/preload/library.rs");

pub(crate) struct Preload {
    library: PathBuf,
    orders: PathBuf,
}

impl Preload {
    /// Fails where no `rustc` can be run: the test could not say anything then.
    pub(crate) fn build(folder: &Path) -> Self {
        let (library, orders) = (folder.join("preload.so"), folder.join("orders"));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(&rustc);
        command.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-O", "-o"]).arg(&library).arg(SOURCE);
        let found = Command::new(&rustc).arg("--version").output();
        assert!(found.is_ok(), "CANNOT BE TESTED: {} cannot be run, and it has to build {SOURCE}", rustc.display());
        let built = output(&mut command);
        assert!(built.status.success(), "{SOURCE}: {}", String::from_utf8_lossy(&built.stderr));
        let preload = Self { library, orders };
        preload.shift_clock_ms(0);
        preload
    }

    /// For the broker's environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        vec![("LD_PRELOAD", self.library.clone().into()), ("SLUICE_TEST_ORDERS", self.orders.clone().into())]
    }

    pub(crate) fn shift_clock_ms(&self, by_ms: i64) {
        self.order(&format!("clock {by_ms}"));
    }

    /// Every flush (`fdatasync`, `fsync`) fails with EIO from now on.
    pub(crate) fn fail_flushes(&self) {
        self.order("flush");
    }

    /// Every blocking write at a position fails with EIO from now on.
    pub(crate) fn fail_writes(&self) {
        self.order("write");
    }

    /// Every read that touches these bytes of a file of this name fails with EIO from now on.
    pub(crate) fn fail_reads(&self, name: &str, bytes: std::ops::Range<u64>) {
        self.order(&format!("read {name} {} {}", bytes.start, bytes.end));
    }

    /// Whole or not at all.
    fn order(&self, text: &str) {
        let beside = self.orders.with_extension("new");
        std::fs::write(&beside, text).expect("written");
        std::fs::rename(&beside, &self.orders).expect("renamed");
    }
}
