//! The root below which files are read, and what a reading is when there is none.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A value, or why it is not known.
pub type Read<T> = Result<T, Unread>;

/// A file that gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub path: String,
    pub why: String,
    /// There is no such file: often this kernel or this machine just has nothing of the kind.
    pub is_missing: bool,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not be read: {}: {}", self.path, self.why)
    }
}

impl Unread {
    pub fn io(path: impl Into<String>, error: &io::Error) -> Self {
        Self { path: path.into(), why: error.to_string(), is_missing: error.kind() == io::ErrorKind::NotFound }
    }

    pub fn malformed(path: impl Into<String>, text: &str) -> Self {
        let start: String = text.chars().take(60).collect();
        Self { path: path.into(), why: format!("it says {start:?}, which is not understood"), is_missing: false }
    }
}

/// `None` where the file is missing: this host has no such thing.
pub fn if_there<T>(read: Read<T>) -> Read<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(unread) if unread.is_missing => Ok(None),
        Err(unread) => Err(unread),
    }
}

/// Where `/` is. Paths are given and told as they are below it.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    pub fn of_this_host() -> Self {
        Self(PathBuf::from("/"))
    }

    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where the file really is.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.0.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// The text of a file, without white space around it.
    pub fn text(&self, absolute: &str) -> Read<String> {
        let text = fs::read_to_string(self.path(absolute)).map_err(|error| Unread::io(absolute, &error))?;
        Ok(text.trim().to_owned())
    }

    /// A file that holds one value.
    pub fn parsed<T: FromStr>(&self, absolute: &str) -> Read<T> {
        let text = self.text(absolute)?;
        text.parse().map_err(|_| Unread::malformed(absolute, &text))
    }

    /// A file that says 0 or 1.
    pub fn switch(&self, absolute: &str) -> Read<bool> {
        match self.parsed::<u8>(absolute)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Unread::malformed(absolute, &other.to_string())),
        }
    }

    /// A file that lists processors or nodes, as in `0-3,8`.
    pub fn list(&self, absolute: &str) -> Read<Vec<usize>> {
        let text = self.text(absolute)?;
        parse_list(&text).ok_or_else(|| Unread::malformed(absolute, &text))
    }

    /// Names in a folder, sorted.
    pub fn names(&self, absolute: &str) -> Read<Vec<String>> {
        let entries = fs::read_dir(self.path(absolute)).map_err(|error| Unread::io(absolute, &error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Unread::io(absolute, &error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    pub fn exists(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }

    /// The path with every link followed, as it is below this root.
    pub fn resolved(&self, absolute: &str) -> Read<String> {
        let unread = |error: &io::Error| Unread::io(absolute, error);
        let own = fs::canonicalize(&self.0).map_err(|error| unread(&error))?;
        let real = fs::canonicalize(self.path(absolute)).map_err(|error| unread(&error))?;
        let below = real.strip_prefix(&own).map_err(|_| Unread::malformed(absolute, &real.display().to_string()))?;
        Ok(format!("/{}", below.display()))
    }
}

/// `0-3,8` is 0, 1, 2, 3, 8; nothing is no number at all.
pub(super) fn parse_list(text: &str) -> Option<Vec<usize>> {
    /// More than any kernel counts, so that a malformed range costs no memory.
    const NUMBER_MAX: usize = 65_536;
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > NUMBER_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Of `always [madvise] never`: the word in brackets, and all of them. A single word without brackets is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub chosen: String,
    pub offered: Vec<String>,
}

impl FromStr for Choice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let bare = |word: &&str| word.trim_matches(['[', ']']).to_owned();
        let offered: Vec<String> = words.iter().map(bare).collect();
        let chosen = words.iter().find(|word| word.starts_with('[') && word.ends_with(']')).map(bare);
        match (chosen, &offered[..]) {
            (Some(chosen), _) => Ok(Self { chosen, offered }),
            (None, [only]) => Ok(Self { chosen: only.clone(), offered }),
            (None, _) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_choices_are_read_or_refused() {
        assert_eq!(parse_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_list(""), Some(vec![]));
        for wrong in ["3-1", "a", "1-", "0-99999999999", "0-4000000000"] {
            assert_eq!(parse_list(wrong), None, "{wrong}");
        }
        let choice: Choice = "none [mq-deadline] kyber".parse().unwrap();
        assert_eq!((choice.chosen.as_str(), choice.offered.len()), ("mq-deadline", 3));
        assert_eq!("none".parse::<Choice>().unwrap().chosen, "none");
        assert!("".parse::<Choice>().is_err() && "a b".parse::<Choice>().is_err());
    }
}
