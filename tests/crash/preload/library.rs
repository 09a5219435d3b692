//! Built by the tests as a library of its own and preloaded into a broker; see `preload.rs`. It has no part in the
//! program. Every call does what the kernel does, but for what the orders say: `clock MS`, `flush`, `write` or
//! `read NAME FROM UNTIL`.

mod ring;

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

const EIO: c_int = 5;
const CLOCK_REALTIME: c_int = 0;
const O_RDONLY: c_int = 0;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(crate) const CLOCK_GETTIME: i64 = 228;
    pub(crate) const FDATASYNC: i64 = 75;
    pub(crate) const FSYNC: i64 = 74;
    pub(crate) const PWRITE64: i64 = 18;
    pub(crate) const PREAD64: i64 = 17;
    pub(crate) const MMAP: i64 = 9;
    pub(crate) const IO_URING_SETUP: i64 = 425;
    pub(crate) const IO_URING_ENTER: i64 = 426;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(crate) const CLOCK_GETTIME: i64 = 113;
    pub(crate) const FDATASYNC: i64 = 83;
    pub(crate) const FSYNC: i64 = 82;
    pub(crate) const PWRITE64: i64 = 68;
    pub(crate) const PREAD64: i64 = 67;
    pub(crate) const MMAP: i64 = 222;
    pub(crate) const IO_URING_SETUP: i64 = 425;
    pub(crate) const IO_URING_ENTER: i64 = 426;
}

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(file: c_int, into: *mut c_void, len: usize) -> isize;
    fn close(file: c_int) -> c_int;
    fn __errno_location() -> *mut c_int;
}

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// A call of the kernel, as it answers.
///
/// # Safety
/// As the call of this number.
#[cfg(target_arch = "x86_64")]
unsafe fn raw(number: i64, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer;
    // SAFETY: the registers are those that the kernel takes and changes.
    unsafe {
        std::arch::asm!(
            "syscall", inlateout("rax") number as isize => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack)
        );
    }
    answer
}

/// A call of the kernel, as it answers.
///
/// # Safety
/// As the call of this number.
#[cfg(target_arch = "aarch64")]
unsafe fn raw(number: i64, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let answer;
    // SAFETY: the registers are those that the kernel takes and changes.
    unsafe {
        std::arch::asm!(
            "svc 0", in("x8") number, inlateout("x0") a as isize => answer, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, options(nostack)
        );
    }
    answer
}

/// As the C library hands on what the kernel answers.
fn answer(answer: isize) -> isize {
    if (-4095..0).contains(&answer) {
        // SAFETY: the location is this thread's own.
        unsafe { *__errno_location() = -answer as c_int };
        return -1;
    }
    answer
}

/// The orders as they are now; empty when there are none.
fn orders() -> ([u8; 64], usize) {
    static PATH: OnceLock<usize> = OnceLock::new();
    let mut text = [0; 64];
    // SAFETY: the environment's strings live as long as the process, which does not change this one.
    let path = *PATH.get_or_init(|| unsafe { getenv(c"SLUICE_TEST_ORDERS".as_ptr()) } as usize) as *const c_char;
    if path.is_null() {
        return (text, 0);
    }
    // SAFETY: plain calls on a valid path, a descriptor of this function's own and a buffer of the length named.
    let len = unsafe {
        let file = open(path, O_RDONLY);
        let len = if file < 0 { 0 } else { read(file, text.as_mut_ptr().cast(), text.len()) };
        close(file);
        len
    };
    (text, usize::try_from(len).unwrap_or(0))
}

fn is_ordered(what: &[u8]) -> bool {
    let (text, len) = orders();
    text[..len].trim_ascii() == what
}

fn shift_ms() -> i64 {
    let (text, len) = orders();
    let number = text[..len].trim_ascii().strip_prefix(b"clock ").and_then(|n| std::str::from_utf8(n).ok());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// As the C library answers a failed call.
fn fail() -> c_int {
    // SAFETY: the location is this thread's own.
    unsafe { *__errno_location() = EIO };
    -1
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, into: *mut Timespec) -> c_int {
    // SAFETY: the caller's pointer is valid for what the kernel writes.
    let result = answer(unsafe { raw(number::CLOCK_GETTIME, [clock as usize, into as usize, 0, 0, 0, 0]) }) as c_int;
    if result == 0 && clock == CLOCK_REALTIME {
        // SAFETY: the kernel has just written there.
        unsafe { (*into).seconds += shift_ms() / 1000 };
    }
    result
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    if is_ordered(b"flush") {
        return fail();
    }
    // SAFETY: as the caller has it.
    answer(unsafe { raw(number::FDATASYNC, [file as usize, 0, 0, 0, 0, 0]) }) as c_int
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    if is_ordered(b"flush") {
        return fail();
    }
    // SAFETY: as the caller has it.
    answer(unsafe { raw(number::FSYNC, [file as usize, 0, 0, 0, 0, 0]) }) as c_int
}

/// # Safety
/// As the call of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, len: usize, position: i64) -> isize {
    if is_ordered(b"write") {
        return fail() as isize;
    }
    // SAFETY: as the caller has it.
    answer(unsafe { raw(number::PWRITE64, [file as usize, bytes as usize, len, position as usize, 0, 0]) })
}
