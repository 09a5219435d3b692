//! Where the program's own words go: standard error, for people by default, as JSON lines on request.
//!
//! Standard output belongs to data (records, tables), so nothing is ever logged there.

use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[derive(Args, Clone, Debug)]
pub(crate) struct LoggingArgs {
    /// How log lines on standard error are written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, help_heading = "Logging")]
    pub(crate) log_format: LogFormat,
    /// Least level that is logged: off, error, warn, info, debug, trace, or per module as in `info,sluice_broker=debug`
    /// [default: info for `serve`, warn elsewhere]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Logging")]
    pub(crate) log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// Logged only when it is asked for by name.
const ENGINE: &str = "openraft";

/// A lone word that is no level would be taken for a module, and nothing else would be logged.
fn names_levels(text: &str) -> bool {
    let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok() && !word.trim().is_empty();
    text.split(',').all(|part| is_level(part.rsplit_once('=').map_or(part, |(_, level)| level)))
}

/// Installs the process's subscriber. Called once, before anything logs.
pub(crate) fn install(args: &LoggingArgs, default: LevelFilter) -> Result<(), String> {
    let filter = match &args.log_level {
        Some(text) if !names_levels(text) => {
            return Err(format!(
                "--log-level {text:?}: write off, error, warn, info, debug or trace, or MODULE=LEVEL, separated by commas"
            ));
        }
        Some(text) => EnvFilter::builder().parse(text).map_err(|error| format!("--log-level {text:?}: {error}"))?,
        // Of the consensus engine every vote and message would be told; what matters of it the broker says itself.
        None => EnvFilter::builder().parse_lossy(format!("{default},openraft=error")),
    };
    // The consensus engine calls it an error that another broker is away, many times a second; what an operator has to know of
    // that, the controller says in words of its own.
    let names_engine = args.log_level.as_ref().is_some_and(|text| text.contains(ENGINE));
    let filter = match names_engine {
        true => filter,
        false => filter.add_directive(format!("{ENGINE}=off").parse().expect("a directive")),
    };
    // A line that cannot be written, on a full disk say, is gone: the subscriber's own complaint would end the process.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let installed = match args.log_format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| format!("cannot install the logger: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["off", "info", "WARN", "info,sluice_broker=debug", "sluice_broker=trace"] {
            assert!(names_levels(good), "{good}");
        }
        for bad in ["loud", "", "info,", "nonsense=", "sluice_broker=loud", "verbose,info"] {
            assert!(!names_levels(bad), "{bad}");
        }
    }
}
