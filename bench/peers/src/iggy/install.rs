//! How the server is had: it is not published on any package registry, so it is one that somebody put on this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_bench::BenchError;
use sluice_bench::error::at;

use super::{CLIENT_VERSION, PROGRAM, SERVER_LINE};
use crate::peer::Say;
use crate::tools::run;

/// Names the program where it is not on the PATH. It must not begin with `IGGY_`, which are the server's own settings.
const VARIABLE: &str = "SLUICE_IGGY_SERVER";

/// Copies the server that is there, so that an installation is whole whatever becomes of the original.
pub(super) fn install(into: &Path, say: Say<'_>) -> Result<(), BenchError> {
    let found = find(env::var_os(VARIABLE).map(PathBuf::from), env::var_os("PATH"))?;
    let version = version_of(&found)?;
    say(&format!("taking {} ({version})", found.display()));
    let copy = into.join(PROGRAM);
    fs::copy(&found, &copy).map_err(at(&found)).map(|_| ())
}

fn find(named: Option<PathBuf>, path: Option<std::ffi::OsString>) -> Result<PathBuf, BenchError> {
    if let Some(named) = named {
        if named.is_file() {
            return Ok(named);
        }
        return Err(BenchError::Option { problem: format!("{VARIABLE} names {}, and there is no such file", named.display()) });
    }
    let folders = path.as_deref().map(|path| env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    folders.into_iter().map(|folder| folder.join(PROGRAM)).find(|program| program.is_file()).ok_or_else(missing)
}

fn missing() -> BenchError {
    BenchError::Option {
        problem: format!(
            "{PROGRAM} is missing. Apache Iggy publishes its clients on package registries, not its server. Get {PROGRAM} \
             {SERVER_LINE}.x, which fits the client {CLIENT_VERSION} here, from the sources of its release (tag server-{SERVER_LINE}.0: \
             cargo build --release --bin {PROGRAM}). Put it on the PATH or name it with {VARIABLE}=FILE, and run this again"
        ),
    }
}

/// # Errors When it does not run, or is of another line than the client.
pub(super) fn version_of(program: &Path) -> Result<String, BenchError> {
    let mut command = Command::new(program);
    command.arg("--version");
    let said = run(command, "it has to run on this machine: the libraries it is linked with are named by ldd")?;
    let version = said.split_whitespace().last().unwrap_or_default().to_owned();
    if is_of_line(&version) {
        return Ok(version);
    }
    Err(BenchError::Option {
        problem: format!(
            "{} is of version {version:?}, and the client {CLIENT_VERSION} here speaks with {SERVER_LINE}.x only: Iggy's clients and \
             servers have to fit",
            program.display()
        ),
    })
}

fn is_of_line(version: &str) -> bool {
    version.strip_prefix(SERVER_LINE).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(folder: &Path, version: &str) -> PathBuf {
        let path = folder.join(PROGRAM);
        fs::write(&path, format!("#!/bin/sh\necho {PROGRAM} {version}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
        path
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let empty = tempfile::tempdir().expect("a folder");
        let problem = find(None, Some(empty.path().into())).expect_err("there is none").to_string();
        for expected in ["iggy-server is missing", "0.8.x", VARIABLE, "client 0.10.0"] {
            assert!(problem.contains(expected), "{expected} in {problem}");
        }
        let problem = find(Some(empty.path().join("none")), None).expect_err("there is none").to_string();
        assert!(problem.contains(VARIABLE) && problem.contains("no such file"), "{problem}");
    }

    #[test]
    fn a_server_on_the_path_or_named_is_taken_when_it_fits() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = program(folder.path(), "0.8.3");
        assert_eq!(find(None, Some(folder.path().into())).expect("it is on the path"), path);
        assert_eq!(find(Some(path.clone()), None).expect("it is named"), path);
        assert_eq!(version_of(&path).expect("it fits"), "0.8.3");
        program(folder.path(), "0.10.0");
        let problem = version_of(&path).expect_err("another protocol").to_string();
        assert!(problem.contains("0.10.0") && problem.contains("0.8.x"), "{problem}");
    }

    #[test]
    fn versions_of_a_line_begin_with_it() {
        assert!(is_of_line("0.8.0") && is_of_line("0.8.0-rc.2"));
        assert!(!is_of_line("0.80.0") && !is_of_line("0.10.0") && !is_of_line(""));
    }
}
