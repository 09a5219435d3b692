//! What `sluice probe` keeps of a device: a text that people may have changed.

use sluice_tuning::Properties;

/// A properties file: what is taken reads back from the text that it is written as.
pub fn properties(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Properties::parse(text) {
        Ok(properties) => {
            let again = Properties::parse(&properties.to_text());
            assert_eq!(again.ok(), Some(properties), "properties read back");
            true
        }
        Err(error) => error.to_string().is_empty(),
    }
}
