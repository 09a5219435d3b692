//! A broker found a producer id in its partitions that the metadata has not given out: the metadata was lost, or is an
//! older copy. Ids up to that one are never given out again.
//!
//! The expensive mistake is an id that is given out twice: the second producer's first batch would be taken for a
//! duplicate of the first one's, acknowledged and not written.

use crate::image::Image;
use crate::record::{ProducerIdsAllocated, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, ProducerId};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveProducerIds {
    pub broker: BrokerId,
    /// The greatest id found.
    pub up_to: ProducerId,
}

pub fn on_reserve_producer_ids(image: &Image, request: &ReserveProducerIds) -> Result<Vec<Record>, Refusal> {
    let ReserveProducerIds { broker, up_to } = *request;
    image.broker(broker).ok_or(Refusal::UnknownBroker { broker })?;
    let mut records = Vec::new();
    let mut first = image.next_producer_id();
    if up_to >= PRODUCER_ID_PLAUSIBLE_END {
        return Err(Refusal::ProducerIdsExhausted);
    }
    while first <= up_to {
        let count = u32::try_from(up_to.0 - first.0).unwrap_or(u32::MAX - 1) + 1;
        records.push(Record::ProducerIdsAllocated(ProducerIdsAllocated { broker, first, count }));
        first = ProducerId(first.0.checked_add(i64::from(count)).ok_or(Refusal::ProducerIdsExhausted)?);
    }
    Ok(records)
}

/// Ids from here on were never given out: a client made them up, and they are in nobody's way. One record reserves
/// `u32::MAX` ids, so this also bounds the records of one reservation.
pub const PRODUCER_ID_PLAUSIBLE_END: ProducerId = ProducerId(1 << 38);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decide, one_broker};

    #[test]
    fn the_next_id_is_above_what_was_found() {
        let mut image = one_broker(1);
        for (up_to, next) in [(-1, 0), (0, 1), (0, 1), (4999, 5000), (1 << 33, (1 << 33) + 1)] {
            let request = ReserveProducerIds { broker: BrokerId(1), up_to: ProducerId(up_to) };
            decide(&mut image, |i| on_reserve_producer_ids(i, &request)).unwrap();
            assert_eq!(image.next_producer_id(), ProducerId(next));
        }
        let forged = ReserveProducerIds { broker: BrokerId(1), up_to: ProducerId(i64::MAX) };
        assert_eq!(on_reserve_producer_ids(&image, &forged), Err(Refusal::ProducerIdsExhausted));
    }
}
