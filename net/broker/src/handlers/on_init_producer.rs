//! InitProducer: a fresh producer id, out of a block that the shard was given.
//!
//! The next block is asked for before the last one ends, so that nobody waits but at the start.

use crate::answer::ReplyTo;
use crate::control_message::Answer;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use sluice_protocol::{InitProducerAnswer, InitProducerRequest, Malformed, access};
use std::collections::VecDeque;
use std::ops::Range;

/// Another block is asked for when fewer are left.
const LEFT_MIN: i64 = 500;
/// Most requests that wait for a block.
const WAITING_MAX: usize = 10_000;

/// The producer ids a shard may give out.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Range<i64>,
    next_block: Range<i64>,
    is_asked: bool,
    waiting: VecDeque<ReplyTo>,
}

impl ProducerIds {
    fn take(&mut self) -> Option<i64> {
        if self.block.is_empty() {
            self.block = std::mem::take(&mut self.next_block);
        }
        self.block.next()
    }

    fn left(&self) -> i64 {
        (self.block.end - self.block.start).max(0) + (self.next_block.end - self.next_block.start).max(0)
    }
}

impl DataPlane {
    pub(crate) fn on_init_producer(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        access::<InitProducerRequest>(body)?;
        match self.producer_ids.take() {
            Some(producer_id) => self.answer(to, &InitProducerAnswer { producer_id, ..InitProducerAnswer::default() }),
            None if self.producer_ids.waiting.len() < WAITING_MAX => self.producer_ids.waiting.push_back(to),
            None => self.refuse(to, WireError::control_busy()),
        }
        self.ask_for_more_ids();
        Ok(())
    }

    fn ask_for_more_ids(&mut self) {
        if self.producer_ids.is_asked || self.producer_ids.left() >= LEFT_MIN {
            return;
        }
        self.producer_ids.is_asked = self.ask_for_producer_ids();
        if !self.producer_ids.is_asked {
            self.refuse_waiting(WireError::control_busy());
        }
    }

    pub(crate) fn on_producer_ids(&mut self, answer: Answer) {
        self.producer_ids.is_asked = false;
        match answer {
            Answer::ProducerIds(block) => self.producer_ids.next_block = block,
            Answer::Refused(error) => return self.refuse_waiting(error),
            Answer::TopicCreated(_) | Answer::Done | Answer::Elected { .. } => return,
        }
        while let Some(to) = self.producer_ids.waiting.pop_front() {
            match self.producer_ids.take() {
                Some(producer_id) => self.answer(to, &InitProducerAnswer { producer_id, ..InitProducerAnswer::default() }),
                None => {
                    self.producer_ids.waiting.push_front(to);
                    break;
                }
            }
        }
        self.ask_for_more_ids();
    }

    fn refuse_waiting(&mut self, error: WireError) {
        for to in std::mem::take(&mut self.producer_ids.waiting) {
            let (error, text, retry_after_ms) = (error.code(), error.text.clone(), error.retry_after_ms);
            self.answer(to, &InitProducerAnswer { error, text, retry_after_ms, ..InitProducerAnswer::default() });
        }
    }
}
