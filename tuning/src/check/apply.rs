//! Makes one change, and says what was there before and what is there now.
//!
//! The expensive mistake is a change that cannot be undone: nothing is written unless the value to go back to still stands
//! where it was read, and no file is ever made. Nothing is written anywhere else, so nothing outlives a restart of the host.

use super::finding::Change;
use crate::host::root::Choice;
use crate::host::{Read, Root, Unread};
use std::fs::OpenOptions;
use std::io::Write;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub change: Change,
    /// What stands there now, or why it is not known.
    pub after: Read<String>,
    /// Why nothing was changed.
    pub problem: Option<String>,
}

/// Writes the value, and reads it back.
pub fn apply(root: &Root, change: &Change) -> Applied {
    let problem = try_apply(root, change).err();
    Applied { change: change.clone(), after: chosen(root, &change.path), problem }
}

fn try_apply(root: &Root, change: &Change) -> Result<(), String> {
    let before = chosen(root, &change.undo_path).map_err(|unread| unread.to_string())?;
    if before != change.undo_value {
        return Err(format!("{} says {before} and no longer {}: check again", change.undo_path, change.undo_value));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .open(root.path(&change.path))
        .map_err(|error| Unread::io(&change.path, &error).why)
        .map_err(|why| format!("{} cannot be written: {why}", change.path))?;
    file.write_all(format!("{}\n", change.value).as_bytes()).map_err(|error| format!("{} refuses it: {error}", change.path))?;
    match chosen(root, &change.path) {
        Ok(after) if after == change.value => Ok(()),
        Ok(after) => Err(format!("{} was written and says {after} now; to undo: {}", change.path, change.undo())),
        Err(unread) => Err(unread.to_string()),
    }
}

/// The word in brackets where there are some, or all that the file says.
fn chosen(root: &Root, path: &str) -> Read<String> {
    let text = root.text(path)?;
    Ok(text.parse::<Choice>().map(|choice| choice.chosen).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::tree;
    use std::fs;

    #[test]
    fn a_change_is_made_only_from_the_value_that_was_read() {
        let tree = tree(&[("/proc/sys/vm/swappiness", "60\n")]);
        let root = Root::at(tree.path());
        let change = Change::new("/proc/sys/vm/swappiness", "1", "60");
        assert_eq!(change.command(), "sudo sysctl -w vm.swappiness=1");
        let applied = apply(&root, &change);
        assert_eq!((applied.problem, applied.after.as_deref()), (None, Ok("1")));
        let again = apply(&root, &change);
        assert!(again.problem.expect("refused").contains("says 1 and no longer 60"));
        assert_eq!(fs::read_to_string(tree.path().join("proc/sys/vm/swappiness")).unwrap().trim(), "1");
    }

    #[test]
    fn no_file_is_made() {
        let tree = tree(&[]);
        let change = Change::new("/sys/block/vda/queue/scheduler", "none", "mq-deadline");
        let applied = apply(&Root::at(tree.path()), &change);
        assert!(applied.problem.is_some() && applied.after.is_err());
        assert_eq!(fs::read_dir(tree.path()).unwrap().count(), 0);
    }
}
