//! One broker.
mod config;
mod data_folder;
mod slab;
mod start_error;
pub use config::BrokerConfig;
pub use start_error::StartError;
