mod delivery;
pub(crate) mod partition_queue;
