//! May as many connections wait to be accepted as a shard asks for?

use super::{Change, Finding, Needs};
use crate::host::Readings;

const ID: &str = "accept-queue";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let found = match &readings.accept_queue_max {
        Ok(found) => *found,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let text = format!("net.core.somaxconn = {found}");
    if found >= needs.accept_queue_len {
        return vec![Finding::fine(ID, text)];
    }
    let wanted = needs.accept_queue_len.to_string();
    let why =
        "When many clients connect at once, as after a restart, those beyond it are dropped and try again only after a second.";
    let change = Change::new("/proc/sys/net/core/somaxconn", wanted.clone(), found.to_string());
    vec![Finding::warn(ID, text).wanted(format!("at least {wanted}")).why(why).change(change)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};

    #[test]
    fn a_short_queue_is_told() {
        let judge_with = |accept_queue_max| tell(&judge(&Readings { accept_queue_max, ..good() }, &needs()))[0].clone();
        assert_eq!(judge_with(Ok(4096)), "fine accept-queue: net.core.somaxconn = 4096");
        let told = judge_with(Ok(128));
        assert!(told.starts_with("warn accept-queue: net.core.somaxconn = 128 | wanted at least 1024"), "{told}");
        assert!(
            told.ends_with("| sudo sysctl -w net.core.somaxconn=1024 | undo sudo sysctl -w net.core.somaxconn=128"),
            "{told}"
        );
        assert!(judge_with(Err(unread())).starts_with("unread"));
    }
}
