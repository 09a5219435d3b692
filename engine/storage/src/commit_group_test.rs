use super::*;
use crate::testing::frames::{FrameSource, test_partition};
use crate::testing::random::Random;

fn header() -> GroupHeader {
    GroupHeader {
        shard: ShardIndex(3),
        incarnation: Incarnation { number: 0x0102, random: 0xfeed_f00d_dead_beef },
        sequence: 9,
        durable_sequence: 8,
        prev_group_crc: 0x1122_3344,
        body_len: 100,
        entry_count: 2,
        body_crc: 0x5566_7788,
        truncates: false,
    }
}

fn body_of(entries: &[JournalEntry<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        let start = body.len();
        body.resize(start + entry.encoded_len(), 0);
        entry.encode(&mut body[start..]);
    }
    body
}

#[test]
fn the_header_has_these_bytes() {
    let mut bytes = [0xff; GROUP_HEADER_LEN];
    let crc = header().write(&mut bytes);
    assert_eq!(bytes[..4], *b"SLG\x01");
    assert_eq!(bytes[4..8], crc.to_le_bytes());
    assert_eq!(bytes[8..32], [0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55, 100, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[32..48], [2, 1, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde, 0x0d, 0xf0, 0xed, 0xfe]);
    assert_eq!(bytes[48..], [9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(GroupHeader::parse(&bytes), Some((header(), crc)));
    let truncates = GroupHeader { truncates: true, ..header() };
    let crc = truncates.write(&mut bytes);
    assert_eq!(bytes[24..32], [3, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(GroupHeader::parse(&bytes), Some((truncates, crc)));
}

#[test]
fn a_header_with_any_bit_flipped_is_none() {
    let mut bytes = [0; GROUP_HEADER_LEN];
    header().write(&mut bytes);
    for bit in 0..GROUP_HEADER_LEN * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(GroupHeader::parse(&flipped), None, "bit {bit}");
    }
    assert_eq!(GroupHeader::parse(&bytes[..GROUP_HEADER_LEN - 1]), None);
}

#[test]
fn lengths_out_of_bounds_are_refused_whatever_the_checksum() {
    let mut bytes = [0; GROUP_HEADER_LEN];
    GroupHeader { body_len: u32::MAX, ..header() }.write(&mut bytes);
    assert_eq!(GroupHeader::parse(&bytes), None);
    GroupHeader { durable_sequence: 9, ..header() }.write(&mut bytes);
    assert_eq!(GroupHeader::parse(&bytes), None);
}

#[test]
fn a_group_is_whole_blocks() {
    assert_eq!(group_len(0), BLOCK_LEN);
    assert_eq!(group_len(BLOCK_LEN - GROUP_HEADER_LEN), BLOCK_LEN);
    assert_eq!(group_len(BLOCK_LEN - GROUP_HEADER_LEN + 1), 2 * BLOCK_LEN);
}

#[test]
fn entries_read_back() {
    let mut source = FrameSource::new(test_partition(1), 5);
    let (first, second) = (source.next(3, 1000), source.next(1, 0));
    let id = test_partition(2);
    let body = body_of(&[
        JournalEntry::Frame { header: &first.header, body: &first.body },
        JournalEntry::LogStart { id, offset: Offset(77) },
        JournalEntry::Truncate { id, end_offset: Offset(88), last_header_crc: 0xfeed },
        JournalEntry::Frame { header: &second.header, body: &second.body },
    ]);
    let read: Vec<_> = Entries::new(&body).map(|entry| entry.expect("a good entry")).collect();
    assert!(
        matches!(read[0], JournalEntry::Frame { header, body } if header.as_bytes() == first.header.as_bytes() && body == first.body)
    );
    assert!(matches!(read[1], JournalEntry::LogStart { id: read, offset: Offset(77) } if read == id));
    assert!(
        matches!(read[2], JournalEntry::Truncate { id: read, end_offset: Offset(88), last_header_crc: 0xfeed } if read == id)
    );
    assert!(matches!(read[3], JournalEntry::Frame { body: [], .. }));
    assert_eq!(read.len(), 4);
}

#[test]
fn a_damaged_frame_does_not_hide_the_entries_behind_it() {
    let mut source = FrameSource::new(test_partition(1), 5);
    let (first, second) = (source.next(3, 1000), source.next(1, 10));
    let mut body = body_of(&[
        JournalEntry::Frame { header: &first.header, body: &first.body },
        JournalEntry::Frame { header: &second.header, body: &second.body },
    ]);
    body[ENTRY_HEADER_LEN + 500] ^= 1;
    let mut entries = Entries::new(&body);
    assert!(matches!(entries.next(), Some(Err(EntryError::Frame(FrameError::BatchCrc { .. })))));
    assert!(matches!(entries.next(), Some(Ok(JournalEntry::Frame { header, .. })) if header.base_offset() == Offset(3)));
    assert!(entries.next().is_none());
}

#[test]
fn a_truncation_vouches_for_itself() {
    let id = test_partition(2);
    let good = body_of(&[
        JournalEntry::Truncate { id, end_offset: Offset(88), last_header_crc: 5 },
        JournalEntry::LogStart { id, offset: Offset(1) },
    ]);
    for bit in ENTRY_HEADER_LEN * 8..(ENTRY_HEADER_LEN + TRUNCATE_LEN) * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let entries: Vec<_> = Entries::new(&flipped).collect();
        assert!(matches!(entries[..], [Err(EntryError::Checksum), Ok(JournalEntry::LogStart { .. })]), "bit {bit}: {entries:?}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut source = FrameSource::new(test_partition(1), 5);
    let frame = source.next(3, 300);
    let id = test_partition(2);
    let good = body_of(&[
        JournalEntry::Frame { header: &frame.header, body: &frame.body },
        JournalEntry::LogStart { id, offset: Offset(1) },
    ]);
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let mut body = good.clone();
        body.truncate(usize::try_from(random.below(good.len() as u64 + 1)).unwrap());
        for _ in 0..random.below(4) {
            if !body.is_empty() {
                let at = usize::try_from(random.below(body.len() as u64)).unwrap();
                body[at] = random.next_u64().to_le_bytes()[0];
            }
        }
        assert!(Entries::new(&body).count() <= 64);
    }
}
