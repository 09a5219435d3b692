//! What one step does, one file per group of operations.

mod fetch;
mod fill;
mod produce;
mod stops;
mod topics;
mod truncate;

use crate::oracle::Violation;
use crate::plan::{Operation, pick};
use crate::world::World;
use sluice_model::TopicPartition;

/// Lengths of time that pass in one step, milliseconds.
const PASSES_MS: [u64; 8] = [1, 12, 60, 60, 300, 1_500, 6_000, 70_000];

impl World {
    /// One operation, and some turns for the tasks.
    pub fn step(&mut self, number: u64) -> Result<(), Violation> {
        let plan = self.plan.clone();
        let operation = plan.next(&mut self.random);
        self.trace.note(format_args!("step {number}: {operation:?} at {} us", self.clock.true_us()));
        self.run_operation(operation)?;
        // What is answered at once was true before anything else happens, a cut of the log among it.
        self.take_up()?;
        let turns = self.random.below(plan.turns_per_step + 1);
        self.turns(turns)?;
        if let Some(reason) = self.failed.take() {
            self.trace.note(format_args!("the process ends: {reason}"));
            self.end_failed_process()?;
        }
        self.check_statuses()
    }

    fn run_operation(&mut self, operation: Operation) -> Result<(), Violation> {
        match operation {
            Operation::Produce => self.hit_and("op: produce", Self::produce),
            Operation::Retry => self.hit_and("op: retry", Self::retry),
            Operation::OldDuplicate => self.hit_and("op: old duplicate", Self::send_old_duplicate),
            Operation::BadFrame => self.hit_and("op: bad frame", Self::send_bad_frame),
            Operation::Fetch => self.hit_and("op: fetch", Self::fetch),
            Operation::Watch => self.hit_and("op: watch", Self::watch),
            Operation::DeleteRecords => self.hit_and("op: delete records", Self::delete_records),
            Operation::PassTime => self.hit_and("op: pass time", Self::pass_time),
            Operation::CreateTopic => self.hit_and("op: create topic", Self::create_topic),
            Operation::DeleteTopic => self.hit_and("op: delete topic", Self::delete_topic),
            Operation::AlterTopic => self.hit_and("op: alter topic", Self::alter_topic),
            Operation::CleanStop => self.hit_and("op: clean stop", Self::clean_stop),
            Operation::Kill => self.hit_and("op: kill", Self::kill),
            Operation::PowerCut => self.hit_and("op: power cut", Self::cut_power_and_start),
            Operation::FillRing => self.hit_and("op: fill ring", Self::fill_ring),
            Operation::Truncate => self.hit_and("op: truncate", Self::truncate),
            Operation::LoseCheckpoints => self.hit_and("op: lose checkpoints", Self::lose_checkpoints_and_start),
            Operation::AcceptLoss => self.hit_and("op: accept loss", Self::accept_loss_and_start),
            Operation::Rot => self.hit_and("op: rot", Self::rot_and_start),
            Operation::ClockJump => self.hit_and("op: clock jump", |world| {
                world.jump_clock();
                Ok(())
            }),
            Operation::DeviceError => self.hit_and("op: device error", |world| {
                world.arm_device_error();
                Ok(())
            }),
            Operation::DiskFull => self.hit_and("op: disk full", |world| {
                world.change_room();
                Ok(())
            }),
            Operation::Astray => self.hit_and("op: astray", |world| {
                world.arm_astray();
                Ok(())
            }),
            Operation::SlowDevice => self.hit_and("op: slow device", |world| {
                world.change_speed();
                Ok(())
            }),
        }
    }

    fn hit_and(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> Result<(), Violation>) -> Result<(), Violation> {
        self.coverage.hit(name);
        run(self)
    }

    fn pass_time(&mut self) -> Result<(), Violation> {
        let ms = PASSES_MS[pick(&mut self.random, PASSES_MS.len())];
        self.advance_ms(ms)?;
        if self.failed.is_none() {
            self.check_answered()?;
            self.check_truncated()?;
        }
        Ok(())
    }

    /// Any partition of a topic that was not deleted.
    fn any_partition(&mut self) -> Option<TopicPartition> {
        let ids: Vec<TopicPartition> = self.control.ids().collect();
        (!ids.is_empty()).then(|| ids[pick(&mut self.random, ids.len())])
    }
}
