//! CreateTopic, DeleteTopic, AlterTopic: asked of the control thread, which answers when every shard has acted on it.
//! They may be sent to any shard.

use crate::answer::ReplyTo;
use crate::control_message::{Answer, OPEN_QUESTIONS_MAX, Question, ToDataTask};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::pending::PendingControl;
use crate::slab::Key;
use sluice_model::ErrorCode;
use sluice_protocol::{
    AlterTopicAnswer, AlterTopicRequest, Api, CreateTopicAnswer, CreateTopicRequest, DeleteTopicAnswer, DeleteTopicRequest,
    Malformed, decode,
};

/// Bytes of memory a question takes besides its texts.
const QUESTION_LEN: usize = 512;

impl DataPlane {
    pub(crate) fn on_create_topic(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let CreateTopicRequest { name, partitions, replicas, settings } = decode(body)?;
        self.ask(to, Api::CreateTopic, body, Question::CreateTopic { name, partitions, replicas, settings });
        Ok(())
    }

    pub(crate) fn on_delete_topic(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let DeleteTopicRequest { name } = decode(body)?;
        self.ask(to, Api::DeleteTopic, body, Question::DeleteTopic { name });
        Ok(())
    }

    pub(crate) fn on_alter_topic(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let AlterTopicRequest { name, settings, partitions } = decode(body)?;
        self.ask(to, Api::AlterTopic, body, Question::AlterTopic { name, settings, partitions });
        Ok(())
    }

    pub(super) fn ask(&mut self, to: ReplyTo, api: Api, body: &[u8], question: Question) {
        if self.controls.len() >= OPEN_QUESTIONS_MAX {
            return self.refuse(to, WireError::control_busy());
        }
        let Some(reservation) = self.parts.budget.try_reserve(QUESTION_LEN + 2 * body.len()) else {
            return self.refuse(to, WireError::no_room());
        };
        let key = self.controls.insert(PendingControl { to, api, reservation });
        if !self.parts.control.ask(key.to_u64(), question) {
            self.controls.remove(key);
            self.refuse(to, WireError::control_busy());
        }
    }

    /// `false`: no room for the question now.
    pub(crate) fn ask_for_producer_ids(&mut self) -> bool {
        self.parts.control.ask(PRODUCER_IDS_TOKEN, Question::ProducerIds)
    }

    pub(crate) fn on_control_answer(&mut self, message: ToDataTask) {
        let ToDataTask { token, answer } = message;
        if token == PRODUCER_IDS_TOKEN {
            return self.on_producer_ids(answer);
        }
        let Some(PendingControl { to, api, reservation }) = self.controls.remove(Key::from_u64(token)) else { return };
        drop(reservation);
        if api == Api::ElectLeaders {
            return self.on_leaders_elected(to, answer);
        }
        let refused = match &answer {
            Answer::Refused(error) => Some(error.clone()),
            _ => None,
        };
        let topic_id = if let Answer::TopicCreated(id) = answer { id.0 } else { [0; 16] };
        let (error, text) = refused.map_or((ErrorCode::None as u16, String::new()), |error| (error.code(), error.text));
        match api {
            Api::CreateTopic => self.answer(to, &CreateTopicAnswer { error, text, topic_id }),
            Api::AlterTopic => self.answer(to, &AlterTopicAnswer { error, text }),
            _ => self.answer(to, &DeleteTopicAnswer { error, text }),
        }
    }
}

/// Stands for the shard itself; no key of a slab has it before 2^32 generations.
const PRODUCER_IDS_TOKEN: u64 = u64::MAX;
