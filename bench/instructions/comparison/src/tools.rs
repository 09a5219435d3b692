//! Is there everything that counting needs, in the version it needs?

use crate::Problem;
use std::path::Path;
use std::process::Command;

/// `package` is the folder of the benchmarks that are to be counted.
pub(crate) fn check(package: &Path) -> Result<(), Problem> {
    if version("valgrind").is_none() {
        return Err("valgrind is missing; apt-get install valgrind (Fedora: dnf install valgrind) gets it".into());
    }
    let manifest = package.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let wanted = runner_version(&text).ok_or_else(|| format!("{} names no exact version of gungraun", manifest.display()))?;
    let remedy = format!("cargo install gungraun-runner --version {wanted} --locked gets it");
    match version("gungraun-runner") {
        None => Err(format!("gungraun-runner {wanted} is missing; {remedy}")),
        Some(found) if found.split_whitespace().last() != Some(wanted) => {
            Err(format!("found {found:?}, these benchmarks need exactly version {wanted}; {remedy}"))
        }
        Some(_) => Ok(()),
    }
}

fn version(tool: &str) -> Option<String> {
    let output = Command::new(tool).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn runner_version(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find(|line| line.starts_with("gungraun"))?;
    line.split_once("\"=")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::runner_version;

    #[test]
    fn the_version_is_the_one_the_benchmarks_are_built_with() {
        assert_eq!(runner_version("[dependencies]\n# gungraun\ngungraun = \"=0.20.0\"\n"), Some("0.20.0"));
        assert_eq!(runner_version("gungraun = \"0.20\"\n"), None);
        assert_eq!(runner_version("[dependencies]\n"), None);
        let own = std::fs::read_to_string(crate::package().join("Cargo.toml")).expect("the manifest beside this folder");
        assert!(runner_version(&own).is_some());
    }
}
