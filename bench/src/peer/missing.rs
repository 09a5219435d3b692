//! A peer that cannot be had: others are measured without it, and the run says why it is not there.

use crate::error::BenchError;
use crate::load::Stop;
use crate::measurement::Measurement;
use crate::result::RoundOutcome;
use crate::run::Target;
use crate::system::AcksAsked;
use crate::workload::Workload;

/// Both of its systems.
pub(super) struct MissingPeer {
    pub name: &'static str,
    pub because: String,
}

impl Target for MissingPeer {
    fn name(&self) -> &str {
        self.name
    }

    fn missing(&self) -> Option<&str> {
        Some(&self.because)
    }

    fn can_run(&self, _: &Workload) -> bool {
        false
    }

    fn acknowledgement(&self, _: AcksAsked) -> (String, Option<bool>) {
        (String::new(), None)
    }

    fn measure(&mut self, _: &Workload, _: &Stop) -> Result<Measurement, BenchError> {
        let outcome_because = Some(self.because.clone());
        Ok(Measurement { outcome: RoundOutcome::BrokerDied, outcome_because, ..Measurement::default() })
    }

    fn settings(&self) -> String {
        String::new()
    }
}
