//! A broker takes a block of producer ids, to give them out one by one. Ids of a block it never used are not reused.

use crate::image::Image;
use crate::record::{ProducerIdsAllocated, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PRODUCER_ID_BLOCK_LEN;
use sluice_model::{BrokerId, Incarnation};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocateProducerIds {
    pub broker: BrokerId,
    /// Must be the registered one.
    pub incarnation: Incarnation,
}

pub fn on_allocate_producer_ids(image: &Image, request: &AllocateProducerIds) -> Result<Vec<Record>, Refusal> {
    let AllocateProducerIds { broker, incarnation: got } = *request;
    let current = image.broker(broker).ok_or(Refusal::UnknownBroker { broker })?.incarnation;
    if got != current {
        return Err(Refusal::FencedIncarnation { broker, got, current });
    }
    let (first, count) = (image.next_producer_id(), PRODUCER_ID_BLOCK_LEN);
    first.0.checked_add(i64::from(count)).ok_or(Refusal::ProducerIdsExhausted)?;
    Ok(vec![Record::ProducerIdsAllocated(ProducerIdsAllocated { broker, first, count })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decide, incarnation, one_broker};
    use sluice_model::ProducerId;

    #[test]
    fn blocks_follow_each_other_and_survive_a_restart() {
        let mut image = one_broker(1);
        let request = |number| AllocateProducerIds { broker: BrokerId(1), incarnation: incarnation(number) };
        for first in [0, 1000, 2000] {
            let records = decide(&mut image, |i| on_allocate_producer_ids(i, &request(1))).unwrap();
            let block = ProducerIdsAllocated { broker: BrokerId(1), first: ProducerId(first), count: 1000 };
            assert_eq!(records, [Record::ProducerIdsAllocated(block)]);
        }
        assert_eq!(image.next_producer_id(), ProducerId(3000));
        let fenced = Refusal::FencedIncarnation { broker: BrokerId(1), got: incarnation(2), current: incarnation(1) };
        assert_eq!(on_allocate_producer_ids(&image, &request(2)), Err(fenced));
        let unknown = AllocateProducerIds { broker: BrokerId(9), incarnation: incarnation(1) };
        assert_eq!(on_allocate_producer_ids(&image, &unknown), Err(Refusal::UnknownBroker { broker: BrokerId(9) }));
    }
}
