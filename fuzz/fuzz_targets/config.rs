//! The settings file and the overrides above it: any text, and what comes of it as far as the broker's own checks. The
//! parser is the program's, and a program is no library, so its files are taken in here; `src/config_test.rs` runs the
//! corpus without a fuzzer.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/config.rs"]
mod config;
#[path = "../../src/exit_status.rs"]
mod exit_status;
#[path = "../../src/units.rs"]
mod units;

use config::{Override, merge};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let overrides: Vec<Override> = lines
        .map(|(setting, text)| Override {
            setting: setting.trim().to_owned(),
            origin: "--set".to_owned(),
            text: text.trim().to_owned(),
        })
        .collect();
    for settings in [merge(Some((text, "f")), &[]), merge(None, &overrides)].into_iter().flatten() {
        if let Ok(config) = settings.broker_config() {
            let _ = config.check();
        }
    }
});
