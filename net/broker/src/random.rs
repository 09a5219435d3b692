//! Random bytes of the machine, for identities.

use std::io;

/// At most 256 bytes, so that the system call neither blocks nor gives fewer than asked for.
pub(crate) fn random_bytes<const LEN: usize>() -> io::Result<[u8; LEN]> {
    const { assert!(LEN <= 256) };
    let mut bytes = [0; LEN];
    // SAFETY: the buffer is valid for its length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), LEN, 0) };
    if usize::try_from(filled) == Ok(LEN) { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}
