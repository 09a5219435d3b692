//! Types that can be records, and the fingerprints of those that the standard library brings.

use super::fingerprint::Fingerprint;
use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Portable, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A type with a name and a layout that can be compared. Declared with [`record_type!`](crate::record_type).
///
/// Whoever implements it by hand promises that two types with equal name and fingerprint have the same layout and mean
/// the same by it. A broken promise is no memory error, since values are validated, but it is a misread record.
pub trait RecordType: Archive + 'static {
    /// What the type is called in headers and errors.
    const NAME: &'static str;

    /// Stands for the layout; see [`Fingerprint`].
    fn fingerprint() -> u64;
}

/// A record type that rkyv can write.
pub trait WriteRecord: RecordType + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>> {}

impl<T: RecordType + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>> WriteRecord for T {}

/// A record type whose bytes rkyv can validate.
pub trait ReadRecord: RecordType + Archive<Archived: Portable + for<'a> CheckBytes<HighValidator<'a, Error>>> {}

impl<T: RecordType + Archive<Archived: Portable + for<'a> CheckBytes<HighValidator<'a, Error>>>> ReadRecord for T {}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl RecordType for $type {
            const NAME: &'static str = stringify!($type);

            fn fingerprint() -> u64 {
                Fingerprint::of::<Self>(Self::NAME).finish()
            }
        }
    )*};
}

plain!((), bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, String);

macro_rules! of_others {
    ($($type:ty, $name:literal, $($of:ident),*;)*) => {$(
        impl<$($of: RecordType),*> RecordType for $type
        where
            Self: Archive,
        {
            const NAME: &'static str = $name;

            fn fingerprint() -> u64 {
                let fingerprint = Fingerprint::of::<Self>($name);
                $(let fingerprint = fingerprint.field("", 0, $of::fingerprint());)*
                fingerprint.finish()
            }
        }
    )*};
}

of_others! {
    Vec<T>, "Vec", T;
    Option<T>, "Option", T;
    Box<T>, "Box", T;
    (A,), "tuple", A;
    (A, B), "tuple", A, B;
    (A, B, C), "tuple", A, B, C;
    (A, B, C, D), "tuple", A, B, C, D;
    BTreeMap<K, V>, "BTreeMap", K, V;
    HashMap<K, V>, "HashMap", K, V;
}

impl<T: RecordType, const N: usize> RecordType for [T; N] {
    const NAME: &'static str = "array";

    fn fingerprint() -> u64 {
        Fingerprint::of::<Self>("array").number(N).field("", 0, T::fingerprint()).finish()
    }
}
