//! Reads that fail: those of the C library, and those that go to the kernel through the rings of io_uring.
//!
//! A read that is ordered to fail is pointed, in the ring, at a page that no process has, in a file that answers with EIO
//! for it; so everything behind the submission is the kernel's own.

use super::{fail, orders, raw};
use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

const RINGS_MAX: usize = 256;
const OFFSET_OF_RING: i64 = 0;
const OFFSET_OF_ENTRIES: i64 = 0x1000_0000;
const ENTRY_LEN: usize = 64;
const READ_FIXED: u8 = 4;
const READ: u8 = 22;
const O_RDONLY: c_int = 0;

/// Of `struct io_uring_params`: where the parts of the submission queue lie.
const HEAD_AT: usize = 40;
const TAIL_AT: usize = 44;
const MASK_AT: usize = 48;
const ARRAY_AT: usize = 64;

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn readlink(path: *const c_char, into: *mut c_char, len: usize) -> isize;
}

#[expect(clippy::declare_interior_mutable_const, reason = "each ring is its own")]
const NO_RING: Ring = Ring {
    file: AtomicU32::new(0),
    parts: [const { AtomicU32::new(0) }; 4],
    ring: AtomicUsize::new(0),
    entries: AtomicUsize::new(0),
};
static RINGS: [Ring; RINGS_MAX] = [NO_RING; RINGS_MAX];

/// A ring of this process. Descriptors are never so many that they do not fit.
struct Ring {
    /// Its descriptor and one; 0 is none.
    file: AtomicU32,
    /// Offsets of head, tail, mask and array.
    parts: [AtomicU32; 4],
    ring: AtomicUsize,
    entries: AtomicUsize,
}

fn ring_of(file: c_int) -> Option<&'static Ring> {
    RINGS.iter().find(|ring| ring.file.load(SeqCst) == file as u32 + 1)
}

/// Whether a read of these bytes is ordered to fail: `read NAME FROM UNTIL`, NAME being the end of the file's path.
fn is_bad(file: c_int, position: i64, len: usize) -> bool {
    let (text, text_len) = orders();
    let Ok(text) = std::str::from_utf8(&text[..text_len]) else { return false };
    let mut words = text.split_ascii_whitespace();
    let (Some("read"), Some(name), Some(from), Some(until)) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Ok(from), Ok(until)) = (from.parse::<i64>(), until.parse::<i64>()) else { return false };
    if position >= until || position.saturating_add(len as i64) <= from {
        return false;
    }
    let link = format!("/proc/self/fd/{file}\0");
    let mut path = [0_u8; 512];
    // SAFETY: a string that ends with a zero, and a buffer of the length named.
    let path_len = unsafe { readlink(link.as_ptr().cast(), path.as_mut_ptr().cast(), path.len()) };
    usize::try_from(path_len).is_ok_and(|len| path[..len].ends_with(name.as_bytes()))
}

/// A file in which nothing can be read at position 0.
fn nowhere() -> c_int {
    static FILE: AtomicU32 = AtomicU32::new(0);
    if FILE.load(SeqCst) == 0 {
        // SAFETY: a plain call on a valid path.
        let file = unsafe { open(c"/proc/self/mem".as_ptr(), O_RDONLY) };
        FILE.store(file as u32, SeqCst);
    }
    FILE.load(SeqCst) as c_int
}

/// Turns those reads that are about to be submitted and are to fail into ones that do.
///
/// # Safety
/// The ring is mapped where it was said to be.
unsafe fn spoil(ring: &Ring) {
    let (base, entries) = (ring.ring.load(SeqCst), ring.entries.load(SeqCst));
    if base == 0 || entries == 0 {
        return;
    }
    let part = |at: usize| (base + ring.parts[at].load(SeqCst) as usize) as *const u32;
    // SAFETY: words of the ring's memory, which lives as long as the ring.
    let (head, tail, mask) = unsafe { (part(0).read_volatile(), part(1).read_volatile(), part(2).read_volatile()) };
    for at in 0..tail.wrapping_sub(head).min(mask + 1) {
        // SAFETY: the index stands in the ring's array, and names one of its entries.
        unsafe {
            let index = part(3).add((head.wrapping_add(at) & mask) as usize).read_volatile();
            let entry = (entries + index as usize * ENTRY_LEN) as *mut u8;
            let file = entry.add(4).cast::<i32>();
            let position = entry.add(8).cast::<i64>();
            let len = entry.add(24).cast::<u32>().read();
            if matches!(entry.read(), READ | READ_FIXED) && is_bad(file.read(), position.read(), len as usize) {
                entry.write(READ);
                file.write(nowhere());
                position.write(0);
                // Buffers are not those of the ring.
                entry.add(40).cast::<u16>().write(0);
            }
        }
    }
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    if number == super::number::IO_URING_ENTER
        && let Some(ring) = ring_of(a as c_int)
    {
        // SAFETY: the ring was set up by this process.
        unsafe { spoil(ring) };
    }
    // SAFETY: as the caller has it.
    let result = unsafe { raw(number, [a, b, c, d, e, f]) };
    if number == super::number::IO_URING_SETUP && result >= 0 {
        let free = || RINGS.iter().find(|ring| ring.file.compare_exchange(0, result as u32 + 1, SeqCst, SeqCst).is_ok());
        // A descriptor that is used again was another ring's, which is gone.
        if let Some(ring) = ring_of(result as c_int).or_else(free) {
            ring.ring.store(0, SeqCst);
            ring.entries.store(0, SeqCst);
            for (part, at) in ring.parts.iter().zip([HEAD_AT, TAIL_AT, MASK_AT, ARRAY_AT]) {
                // SAFETY: the kernel has filled in what the caller's pointer is valid for.
                part.store(unsafe { ((b + at) as *const u32).read() }, SeqCst);
            }
        }
    }
    super::answer(result) as c_long
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    let arguments = [at as usize, len, protection as usize, flags as usize, file as usize, offset as usize];
    // SAFETY: as the caller has it.
    let mapped = super::answer(unsafe { raw(super::number::MMAP, arguments) });
    if file >= 0
        && mapped != -1
        && let Some(ring) = ring_of(file)
    {
        match offset {
            OFFSET_OF_RING => ring.ring.store(mapped as usize, SeqCst),
            OFFSET_OF_ENTRIES => ring.entries.store(mapped as usize, SeqCst),
            _ => {}
        }
    }
    mapped as *mut c_void
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: as the caller has it.
    unsafe { mmap(at, len, protection, flags, file, offset) }
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(file: c_int, into: *mut c_void, len: usize, position: i64) -> isize {
    if is_bad(file, position, len) {
        return fail() as isize;
    }
    // SAFETY: as the caller has it.
    super::answer(unsafe { raw(super::number::PREAD64, [file as usize, into as usize, len, position as usize, 0, 0]) })
}
