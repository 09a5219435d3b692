//! DeleteRecords: moves the log start of one partition; answered when that is durable.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::pending::{PendingProduce, Token};
use crate::view::Place;
use sluice_model::{Offset, PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{DeleteRecordsAnswer, DeleteRecordsRequest, Malformed, ShardAddress, access};

const ANSWER_LEN: usize = 256;

impl DataPlane {
    pub(crate) fn on_delete_records(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<DeleteRecordsRequest>(body)?;
        let id = TopicPartition { topic_id: TopicId(request.topic_id), partition: PartitionIndex(request.partition.to_native()) };
        let offset = Offset(request.offset.to_native());
        if let Err(place) = self.here(id) {
            let (error, address) = place.refusal();
            self.refuse_delete_records(to, error, address);
            return Ok(());
        }
        let Some(reservation) = self.parts.budget.try_reserve(ANSWER_LEN) else {
            self.refuse(to, WireError::no_room());
            return Ok(());
        };
        let pending = PendingProduce {
            to,
            appended_us: self.now.mono_us,
            times: None,
            partitions: Vec::new(),
            left: 1,
            reservation: Some(reservation),
        };
        let request = self.produces.insert(pending).index;
        let token = Token::DeleteRecords { request };
        let begun = self.here(id).map_err(Place::refusal).and_then(|(opened, _)| {
            let begun = opened.partitions.delete_records(id, offset, token.to_u64());
            begun.map_err(|refusal| (WireError::from(&refusal), None))
        });
        if let Err((error, address)) = begun {
            self.produces.remove_at(request);
            self.refuse_delete_records(to, error, address);
        }
        Ok(())
    }

    fn refuse_delete_records(&mut self, to: ReplyTo, error: WireError, address: Option<ShardAddress>) {
        let answer = DeleteRecordsAnswer { error: error.code(), text: error.text, address, ..DeleteRecordsAnswer::default() };
        self.answer(to, &answer);
    }
}
