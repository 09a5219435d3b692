pub mod closed_loop;
pub mod floor;
pub mod process;
pub mod spread;
