//! Does the kernel make huge pages of memory that did not ask for them?

use super::{Change, Finding, Needs};
use crate::host::Readings;

const ID: &str = "transparent-huge-pages";
const PATH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    vec![match &readings.memory.huge_pages {
        Err(unread) => Finding::unread(ID, unread),
        Ok(None) => Finding::not_applicable(ID, "this kernel has none"),
        Ok(Some(choice)) if choice.chosen == "always" => {
            let why = "The kernel may stop a thread to gather a free huge page, and a broker takes more memory than its \
                budgets say; measured here they made nothing faster.";
            Finding::warn(ID, "always").wanted("madvise").why(why).change(Change::new(PATH, "madvise", "always"))
        }
        Ok(Some(choice)) => Finding::fine(ID, &choice.chosen),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::Memory;

    #[test]
    fn only_always_is_changed() {
        let judge_with = |huge_pages| {
            tell(&judge(&Readings { memory: Memory { huge_pages, ..good().memory }, ..good() }, &needs()))[0].clone()
        };
        let choice = |text: &str| Ok(text.parse().ok());
        assert_eq!(judge_with(choice("always [madvise] never")), "fine transparent-huge-pages: madvise");
        assert_eq!(judge_with(choice("always madvise [never]")), "fine transparent-huge-pages: never");
        let told = judge_with(choice("[always] madvise never"));
        assert!(told.starts_with("warn transparent-huge-pages: always | wanted madvise"), "{told}");
        assert!(told.ends_with(
            "| echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled | undo echo always | sudo tee \
             /sys/kernel/mm/transparent_hugepage/enabled"
        ));
        assert_eq!(judge_with(Ok(None)), "not-applicable transparent-huge-pages: this kernel has none");
        assert!(judge_with(Err(unread())).starts_with("unread"));
    }
}
