//! An operator deletes a group with all its offsets. Only one without members: those would go on from nowhere.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision};
use crate::ids::GroupId;
use crate::record::{GroupDeleted, Record};
use crate::refusal::Refusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteGroup {
    pub group_id: GroupId,
}

impl Coordinator {
    pub fn on_delete_group(&self, request: &DeleteGroup) -> Result<Decision, Refusal> {
        let group_id = &request.group_id;
        match self.known_group(group_id)?.member_count() {
            0 => {
                let record = Record::GroupDeleted(GroupDeleted { group_id: group_id.clone() });
                Ok(Decision::answered(vec![record], Answer::Deleted))
            }
            members => Err(Refusal::GroupNotEmpty { members }),
        }
    }
}

#[cfg(test)]
#[path = "on_delete_group_test.rs"]
mod tests;
