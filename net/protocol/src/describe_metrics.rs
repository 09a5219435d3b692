//! DescribeMetrics: what one shard has counted and timed since its start.
//!
//! Everything only grows (but for the gauges), so a client that wants to know of a while asks twice and takes the
//! difference ([`DescribeMetricsAnswer::since`]). Values have names ([`crate::metric`]) and lists are bounded, so
//! that a broker may count more without a new version. The expensive mistake is a difference across a restart: it is
//! refused by the incarnation.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::StageHistogram;
use sluice_model::limits::{HISTOGRAMS_PER_ANSWER_MAX, MESSAGE_BODY_LEN_MAX, METRIC_NAME_LEN_MAX, METRICS_PER_ANSWER_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeMetricsRequest {}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeMetricsAnswer {
    pub error: u16,
    pub text: String,
    pub shard: u16,
    /// The number of the broker's start; it grows with every one.
    pub incarnation: u64,
    /// When this was answered, microseconds by a clock of the broker's that never goes back.
    pub at_us: u64,
    /// Memory of the whole process that is resident now, and the most that ever was, bytes; 0: not known.
    pub process_resident_len: u64,
    pub process_resident_len_max: u64,
    /// What only grows.
    pub counters: Vec<NamedValue>,
    /// What is so now.
    pub gauges: Vec<NamedValue>,
    pub histograms: Vec<NamedHistogram>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedValue {
    pub name: String,
    pub value: u64,
}

/// A [`StageHistogram`] on the wire.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedHistogram {
    pub name: String,
    /// By position; those left out at the end are 0.
    pub counts: Vec<u64>,
    pub sum_us: u64,
}

const _: () = assert!(
    2 * METRICS_PER_ANSWER_MAX * (METRIC_NAME_LEN_MAX + 32)
        + HISTOGRAMS_PER_ANSWER_MAX * (METRIC_NAME_LEN_MAX + 64 + 8 * StageHistogram::BUCKETS)
        + TEXT_LEN_MAX
        + 256
        <= MESSAGE_BODY_LEN_MAX,
    "the fullest answer fits"
);

impl NamedValue {
    #[must_use]
    pub fn new(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), value }
    }
}

impl NamedHistogram {
    #[must_use]
    pub fn new(name: impl Into<String>, histogram: &StageHistogram) -> Self {
        Self { name: name.into(), counts: histogram.counts().to_vec(), sum_us: histogram.sum_us() }
    }

    fn histogram(&self) -> Option<StageHistogram> {
        StageHistogram::from_counts(self.counts.iter().copied(), self.sum_us)
    }
}

impl DescribeMetricsAnswer {
    /// `None`: this broker does not count it.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        value_of(&self.counters, name)
    }

    /// `None`: this broker does not know it.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<u64> {
        value_of(&self.gauges, name)
    }

    /// `None`: this broker does not time it.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Option<StageHistogram> {
        self.histograms.iter().find(|named| named.name == name)?.histogram()
    }

    /// What happened between `earlier` and this answer of the same shard: counters and histograms are differences,
    /// everything else is as it is now. `None`: the broker was started anew in between, or it is another shard.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if (self.shard, self.incarnation) != (earlier.shard, earlier.incarnation) {
            return None;
        }
        let mut difference = self.clone();
        for counter in &mut difference.counters {
            counter.value = counter.value.checked_sub(earlier.counter(&counter.name).unwrap_or(0))?;
        }
        for named in &mut difference.histograms {
            let before = earlier.histogram(&named.name).unwrap_or_default();
            *named = NamedHistogram::new(std::mem::take(&mut named.name), &named.histogram()?.since(&before)?);
        }
        Some(difference)
    }

    /// Adds what another shard of the same broker answered, so that both are told as one. What is of the process is
    /// not added.
    pub fn merge(&mut self, other: &Self) {
        add_values(&mut self.counters, &other.counters);
        add_values(&mut self.gauges, &other.gauges);
        for named in &other.histograms {
            match self.histograms.iter_mut().find(|mine| mine.name == named.name) {
                Some(mine) => {
                    let mut sum = mine.histogram().unwrap_or_default();
                    sum.merge(&named.histogram().unwrap_or_default());
                    *mine = NamedHistogram::new(std::mem::take(&mut mine.name), &sum);
                }
                None => self.histograms.push(named.clone()),
            }
        }
        self.at_us = self.at_us.max(other.at_us);
        self.process_resident_len = self.process_resident_len.max(other.process_resident_len);
        self.process_resident_len_max = self.process_resident_len_max.max(other.process_resident_len_max);
    }
}

fn value_of(values: &[NamedValue], name: &str) -> Option<u64> {
    values.iter().find(|named| named.name == name).map(|named| named.value)
}

fn add_values(to: &mut Vec<NamedValue>, values: &[NamedValue]) {
    for named in values {
        match to.iter_mut().find(|mine| mine.name == named.name) {
            Some(mine) => mine.value = mine.value.saturating_add(named.value),
            None => to.push(named.clone()),
        }
    }
}

impl Message for DescribeMetricsRequest {
    const API: Api = Api::DescribeMetrics;
    const NAME: &'static str = "DescribeMetrics request";

    fn check(_: &ArchivedDescribeMetricsRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for DescribeMetricsRequest {
    type Answer = DescribeMetricsAnswer;
}

impl Message for DescribeMetricsAnswer {
    const API: Api = Api::DescribeMetrics;
    const NAME: &'static str = "DescribeMetrics answer";

    fn check(archived: &ArchivedDescribeMetricsAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("counters", archived.counters.len(), METRICS_PER_ANSWER_MAX)?;
        at_most("gauges", archived.gauges.len(), METRICS_PER_ANSWER_MAX)?;
        at_most("histograms", archived.histograms.len(), HISTOGRAMS_PER_ANSWER_MAX)?;
        for named in archived.counters.iter().chain(archived.gauges.iter()) {
            at_most("bytes of a metric's name", named.name.len(), METRIC_NAME_LEN_MAX)?;
        }
        for named in archived.histograms.iter() {
            at_most("bytes of a metric's name", named.name.len(), METRIC_NAME_LEN_MAX)?;
            at_most("buckets", named.counts.len(), StageHistogram::BUCKETS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "describe_metrics_test.rs"]
mod tests;
