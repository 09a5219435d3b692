//! A fingerprint changes with everything that changes the layout, and with nothing else.

use super::RecordType;
use std::collections::{BTreeMap, HashMap};

mod base {
    crate::record_type! {
        /// Documented.
        #[derive(Debug, PartialEq)]
        pub struct Order {
            /// Also documented.
            pub id: u64,
            pub amount: u64,
            pub lines: Vec<Line>,
        }
    }
    crate::record_type! { #[derive(Debug, PartialEq)] pub struct Line { pub article: String, pub count: u32 } }
    crate::record_type! { pub enum State { New, Paid { at_ms: u64 }, Refused(String, u32) } }
}

mod same {
    use super::base::Line;
    crate::record_type! { pub(crate) struct Order { id: u64, amount: u64, lines: Vec<Line> } }
}

mod swapped {
    use super::base::Line;
    crate::record_type! { pub struct Order { pub amount: u64, pub id: u64, pub lines: Vec<Line> } }
}

mod renamed {
    use super::base::Line;
    crate::record_type! { pub struct Order { pub id: u64, pub price: u64, pub lines: Vec<Line> } }
}

mod retyped {
    use super::base::Line;
    crate::record_type! { pub struct Order { pub id: u64, pub amount: i64, pub lines: Vec<Line> } }
}

mod longer {
    use super::base::Line;
    crate::record_type! { pub struct Order { pub id: u64, pub amount: u64, pub lines: Vec<Line>, pub note: () } }
}

mod deeper {
    // Only the nested type differs: its fields are swapped.
    crate::record_type! { pub struct Order { pub id: u64, pub amount: u64, pub lines: Vec<Line> } }
    crate::record_type! { pub struct Line { pub count: u32, pub article: String } }
}

mod other_states {
    pub(super) mod swapped {
        crate::record_type! { pub enum State { Paid { at_ms: u64 }, New, Refused(String, u32) } }
    }
    pub(super) mod renamed {
        crate::record_type! { pub enum State { New, Paid { at_s: u64 }, Refused(String, u32) } }
    }
    pub(super) mod parts {
        crate::record_type! { pub enum State { New, Paid { at_ms: u64 }, Refused(u32, String) } }
    }
    pub(super) mod moved {
        crate::record_type! { pub enum State { New(u64), Paid { at_ms: u64 }, Refused(String, u32) } }
    }
}

#[test]
fn every_change_of_a_struct_changes_its_fingerprint() {
    let base = base::Order::fingerprint();
    assert_eq!(base, same::Order::fingerprint(), "visibility and documentation are not layout");
    let others = [
        swapped::Order::fingerprint(),
        renamed::Order::fingerprint(),
        retyped::Order::fingerprint(),
        longer::Order::fingerprint(),
        deeper::Order::fingerprint(),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_ne!(base, *other, "{n}");
        assert_eq!(others.iter().filter(|&o| o == other).count(), 1, "{n}");
    }
    assert_eq!((base::Order::NAME, deeper::Order::NAME), ("Order", "Order"));
}

#[test]
fn every_change_of_an_enum_changes_its_fingerprint() {
    let all = [
        base::State::fingerprint(),
        other_states::swapped::State::fingerprint(),
        other_states::renamed::State::fingerprint(),
        other_states::parts::State::fingerprint(),
        other_states::moved::State::fingerprint(),
    ];
    for (n, one) in all.iter().enumerate() {
        assert_eq!(all.iter().filter(|&o| o == one).count(), 1, "{n}");
    }
}

#[test]
fn types_of_the_library_all_differ() {
    let all = [
        u32::fingerprint(),
        i32::fingerprint(),
        f32::fingerprint(),
        char::fingerprint(),
        String::fingerprint(),
        Vec::<u8>::fingerprint(),
        Vec::<i8>::fingerprint(),
        Vec::<Vec<u8>>::fingerprint(),
        Box::<u8>::fingerprint(),
        Option::<u8>::fingerprint(),
        <[u8; 4]>::fingerprint(),
        <[i8; 4]>::fingerprint(),
        <(u8, u16)>::fingerprint(),
        <(u16, u8)>::fingerprint(),
        <(u8,)>::fingerprint(),
        BTreeMap::<u8, u16>::fingerprint(),
        HashMap::<u8, u16>::fingerprint(),
        HashMap::<u16, u8>::fingerprint(),
    ];
    for (n, one) in all.iter().enumerate() {
        assert_eq!(all.iter().filter(|&o| o == one).count(), 1, "{n}");
    }
}

/// What other builds wrote before must stay readable: these are what they wrote.
#[test]
fn golden_fingerprints() {
    let all = [u64::fingerprint(), base::Order::fingerprint(), base::State::fingerprint()];
    assert_eq!(
        all.map(|fingerprint| format!("{fingerprint:016x}")),
        ["4e53e913bb8fad2f", "89b672b581153145", "760e515ad47fbe79"]
    );
}

#[test]
fn what_the_macro_declares_can_be_written_and_read_in_place() {
    let line = base::Line { article: "a pencil".into(), count: 3 };
    let order = base::Order { id: 7, amount: 1200, lines: vec![line] };
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&order).unwrap();
    let archived = crate::access::<base::Order>(&bytes).unwrap();
    assert_eq!((archived.id.to_native(), archived.lines[0].article.as_str()), (7, "a pencil"));
    assert_eq!(rkyv::deserialize::<base::Order, rkyv::rancor::Error>(archived).unwrap(), order);
    // Any address will do.
    let mut shifted = vec![0];
    shifted.extend_from_slice(&bytes);
    assert_eq!(crate::access::<base::Order>(&shifted[1..]).unwrap().amount.to_native(), 1200);
}
