pub mod disk;
pub mod checkpoint;
pub mod entry_address;
