//! Finding the program that measures peers, and having it install them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{BenchError, at};

const NAME: &str = "sluice-bench-peers";
const BUILT: &str = "bench/peers/target/release";
const BUILD_IT: &str = "cargo build --release --manifest-path bench/peers/Cargo.toml";
/// Names the program where it is found neither beside this one nor in the sources.
const VARIABLE: &str = "SLUICE_BENCH_PEERS";

/// The program, and where it has its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersProgram {
    pub path: PathBuf,
    /// Where peers are installed.
    pub folder: PathBuf,
}

impl PeersProgram {
    /// `asked` by an option, else by the environment, else beside this executable, else where cargo puts it in the sources that
    /// this executable or the current folder is in.
    ///
    /// # Errors When there is none: the command that builds it.
    pub fn find(asked: Option<&Path>, folder: Option<&Path>) -> Result<Self, BenchError> {
        let folder = match folder {
            Some(folder) => folder.to_path_buf(),
            None => default_folder()?,
        };
        let named = asked.map(Path::to_path_buf).or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        if let Some(path) = named {
            if path.is_file() {
                return Ok(Self { path, folder });
            }
            return Err(BenchError::Option { problem: format!("{} is no program: {BUILD_IT} builds {NAME}", path.display()) });
        }
        let executable = std::env::current_exe().map_err(BenchError::io("the path of this program"))?;
        let current = std::env::current_dir().map_err(BenchError::io("the current folder"))?;
        match candidates(&executable, &current).into_iter().find(|path| path.is_file()) {
            Some(path) => Ok(Self { path, folder }),
            None => Err(BenchError::Option {
                problem: format!(
                    "--peer needs the program {NAME}, which is built apart from sluice: run\n  {BUILD_IT}\nin the sources, or name \
                     it with --peers-program"
                ),
            }),
        }
    }

    /// Installs `peer` unless it is there; what that is at stands on standard error. Why it cannot be had, when it cannot.
    ///
    /// # Errors When the program does not run.
    pub fn install(&self, peer: &str) -> Result<Option<String>, BenchError> {
        let mut command = Command::new(&self.path);
        command.arg("install").arg("--folder").arg(&self.folder).args(["--peer", peer]);
        // Standard output may be read by a program, and is not for this.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(at(&self.path))?;
        let mut said = Vec::new();
        for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok)) {
            eprintln!("{line}");
            said.push(line);
        }
        let status = child.wait().map_err(at(&self.path))?;
        Ok((!status.success()).then(|| why(peer, &said).unwrap_or_else(|| format!("its installation ended with {status}"))))
    }
}

/// The last thing said: from the line that begins with that it cannot be had.
fn why(peer: &str, said: &[String]) -> Option<String> {
    let begin = format!("{peer} cannot be had: ");
    let first = said.iter().rposition(|line| line.starts_with(&begin))?;
    Some(said[first..].join("\n").split_off(begin.len()))
}

fn candidates(executable: &Path, current: &Path) -> Vec<PathBuf> {
    let beside = executable.parent().map(|folder| folder.join(NAME));
    let sources = executable.ancestors().skip(1).chain(current.ancestors());
    beside.into_iter().chain(sources.map(|folder| folder.join(BUILT).join(NAME))).collect()
}

/// `sluice/peers` in the user's cache folder.
fn default_folder() -> Result<PathBuf, BenchError> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    match cache.or_else(home) {
        Some(cache) => Ok(cache.join("sluice/peers")),
        None => Err(BenchError::Option {
            problem: "there is no home folder to install peers in: name one with --peers-dir".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_beside_this_program_and_in_the_sources() {
        let found = candidates(Path::new("/src/target/release/sluice"), Path::new("/src/bench"));
        assert_eq!(found[0], Path::new("/src/target/release/sluice-bench-peers"));
        assert!(found.contains(&PathBuf::from("/src/bench/peers/target/release/sluice-bench-peers")), "{found:?}");
    }

    #[test]
    fn one_that_is_not_there_is_named_with_the_command_that_builds_it() {
        let missing = PeersProgram::find(Some(Path::new("/no/such/program")), Some(Path::new("/tmp"))).expect_err("none");
        assert!(missing.to_string().contains(BUILD_IT), "{missing}");
    }

    #[test]
    fn why_a_peer_cannot_be_had_is_all_that_was_said_of_it_last() {
        let said = ["iggy: installing", "iggy cannot be had: mvn ended:", "  no network", "try again"].map(str::to_owned);
        assert_eq!(why("iggy", &said).as_deref(), Some("mvn ended:\n  no network\ntry again"));
        assert_eq!(why("kafka", &said), None);
    }
}
