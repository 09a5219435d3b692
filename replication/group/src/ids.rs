//! Who a group and a member are, and the numbers that fence them.

use crate::limits::GROUP_ID_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::number;
use std::fmt;

number! {
    /// The version of a group's members and of the target that was computed for them. From 1.
    GroupEpoch(u32)
}
number! {
    /// The version of what one member was given: one more with every partition that it gets or has to give up. From 1;
    /// 0 is before the member was told anything. What names an older one than a partition was given under is fenced.
    MemberEpoch(u32)
}
number! {
    /// A batch that this coordinator has appended, from 1; 0 is what it was loaded with. Answers wait for one.
    BatchNumber(u64)
}

impl MemberEpoch {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a member is given partitions fewer than 2^32 times"))
    }
}

/// A group by its name: 1 to `GROUP_ID_LEN_MAX` bytes without control characters.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub String);

impl GroupId {
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_text(&self.0, GROUP_ID_LEN_MAX) && !self.0.is_empty()
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({:?})", self.0)
    }
}

/// One life of a member: random, drawn by the client before it joins, and never used again once it has left or was
/// fenced. A join that is tried again because its answer was lost has the same one.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MemberId(pub [u8; 16]);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

/// Text of people and programs: bounded, without control characters.
pub(crate) fn is_text(text: &str, len_max: usize) -> bool {
    text.len() <= len_max && !text.chars().any(char::is_control)
}
