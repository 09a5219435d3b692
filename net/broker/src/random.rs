//! Random bytes of the machine, for identities.

use std::fs::File;
use std::io::{self, Read};

pub(crate) fn random_bytes<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
