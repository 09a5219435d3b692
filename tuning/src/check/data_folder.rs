//! Is the data folder there, and may this user write in it?

use super::{Finding, Needs};
use crate::host::{FolderState, Readings};

const ID: &str = "data-folder";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    let judge_one = |folder: &crate::host::DataFolder| {
        let path = folder.path.display().to_string();
        let finding = match &folder.state {
            Err(unread) => Finding::unread(ID, unread),
            Ok(FolderState::Writable) => Finding::fine(ID, "may be written"),
            Ok(FolderState::Missing { nearest }) => {
                Finding::note(ID, format!("does not exist; {nearest} was judged in its place"))
                    .wanted("the folder a broker is to use")
                    .why("A broker makes it at its first start; a mistyped path would begin an empty one.")
                    .fix(format!("mkdir -p {path}"), format!("rmdir {path}"))
            }
            Ok(FolderState::NotAFolder { what }) => Finding::fatal(ID, format!("{what} is no folder"))
                .wanted("a folder, or a path that is free")
                .why("A broker cannot make its folder where a file stands, and does not start.")
                .fix(format!("mv {what} {what}.aside"), format!("mv {what}.aside {what}")),
            Ok(FolderState::NotWritable { what, error }) => {
                Finding::fatal(ID, format!("this user may not write in {what} ({error})"))
                    .wanted("a folder that the broker's user may write in")
                    .why("A broker writes its journal there before it acknowledges anything, and does not start.")
                    .fix(
                        format!("sudo chown \"$USER\" {what}"),
                        format!("# sudo chown USER {what}, the user of before, which stat -c %U {what} shows"),
                    )
            }
        };
        finding.about(path)
    };
    readings.start.folders.iter().map(judge_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};

    #[test]
    fn a_folder_is_writable_made_later_or_refused() {
        for (state, expected) in [
            (Ok(FolderState::Writable), "fine [/data] data-folder: may be written"),
            (
                Ok(FolderState::Missing { nearest: "/".to_owned() }),
                "note [/data] data-folder: does not exist; / was judged in its place | wanted",
            ),
            (Ok(FolderState::NotAFolder { what: "/data".to_owned() }), "fatal [/data] data-folder: /data is no folder | wanted"),
            (
                Ok(FolderState::NotWritable { what: "/data".to_owned(), error: "denied".to_owned() }),
                "fatal [/data] data-folder: this user may not write in /data (denied) | wanted",
            ),
            (Err(unread()), "unread [/data] data-folder: could not be read: /a/file: it says \"?\""),
        ] {
            let mut readings = good();
            readings.start.folders[0].state = state;
            let told = tell(&judge(&readings, &needs()));
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }
}
