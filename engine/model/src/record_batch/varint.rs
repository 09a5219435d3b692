//! Zigzag varints as Kafka's records use them: seven bits a byte, low ones first, small negative numbers short.
//!
//! Longer forms than needed are read, as Kafka reads them; a value that does not fit its type is not.

use bytes::{BufMut, BytesMut};

/// Longest encoding of an `i64`, bytes.
pub const VARLONG_LEN_MAX: usize = 10;

/// Bytes that [`put_varlong`] writes for `value`; the same for an `i32` widened.
#[must_use]
pub const fn varlong_len(value: i64) -> usize {
    let bits = u64::BITS - zigzag(value).leading_zeros();
    if bits == 0 { 1 } else { bits.div_ceil(7) as usize }
}

/// Appends `value`. An `i32` widened has the same bytes as Kafka's `varint` of it.
#[inline]
pub fn put_varlong(out: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    if rest < 0x80 {
        return out.put_u8(rest as u8);
    }
    let (mut bytes, mut len) = ([0u8; VARLONG_LEN_MAX], 0);
    while rest >= 0x80 {
        bytes[len] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        len += 1;
    }
    bytes[len] = rest as u8;
    out.put_slice(&bytes[..=len]);
}

/// Takes one value off the front of `bytes`; `None`, with `bytes` unspecified, when it is cut short or does not fit.
#[inline]
pub fn take_varlong(bytes: &mut &[u8]) -> Option<i64> {
    match take_short_form(bytes) {
        Some(value) => Some(unzigzag(u64::from(value))),
        None => take_long_form(bytes),
    }
}

/// As [`take_varlong`], and the value fits an `i32`.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<i32> {
    match take_short_form(bytes) {
        Some(value) => Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed())),
        None => i32::try_from(take_long_form(bytes)?).ok(),
    }
}

/// One byte or two, before unzigzagging: nearly every number of a record.
#[inline]
fn take_short_form(bytes: &mut &[u8]) -> Option<u32> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(u32::from(first))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(u32::from(first & 0x7f) | u32::from(second) << 7)
        }
        _ => None,
    }
}

fn take_long_form(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(VARLONG_LEN_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let last_byte = index == VARLONG_LEN_MAX - 1;
        if last_byte && byte > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(unzigzag(value));
        }
    }
    None
}

pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (300, &[0xd8, 0x04]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = BytesMut::new();
            put_varlong(&mut out, value);
            assert_eq!(&out[..], bytes, "{value}");
            assert_eq!(varlong_len(value), bytes.len(), "{value}");
            let mut rest = bytes;
            assert_eq!(take_varlong(&mut rest), Some(value));
            assert!(rest.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(take_varlong(&mut &bytes[..cut]), None, "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_read() {
        assert_eq!(take_varlong(&mut &[0xff; 11][..]), None, "never ends");
        assert_eq!(take_varlong(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None, "65 bits");
        assert_eq!(take_varint(&mut &[0x80, 0x80, 0x80, 0x80, 0x10][..]), None, "33 bits");
        assert_eq!(take_varint(&mut &[0x82, 0x00][..]), Some(1), "a longer form than needed");
    }
}
