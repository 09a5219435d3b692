use super::*;
use crate::disk::{Disk, OpenMode};
use crate::frame_walk::WalkRange;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use std::path::Path;

const BLOCK: u64 = BLOCK_LEN as u64;

/// A walk over these frames as they stand one behind the other from the second block on.
fn walk_over(frames: &[&TestFrame]) -> FrameReader<<FaultDisk as Disk>::File> {
    let mut bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes()).collect();
    let end_position = BLOCK + bytes.len() as u64;
    bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
    let disk = FaultDisk::new(1);
    let file = block_on(disk.open(Path::new("/segment"), OpenMode::CreateNew)).unwrap();
    block_on(file.write_at(BLOCK, bytes)).unwrap();
    let range = WalkRange {
        id: test_partition(0),
        segment: Offset::ZERO,
        position: BLOCK,
        offset: Offset::ZERO,
        prev_header_crc: 0,
        end_position,
        end_offset: Offset(100),
    };
    FrameReader::new(file, FrameWalk::new(range, Offset::ZERO), 1 << 16)
}

fn next_offset(reader: &mut FrameReader<<FaultDisk as Disk>::File>) -> Option<u64> {
    block_on(reader.next()).ok()?.map(|frame| frame.header.base_offset().0)
}

#[test]
fn the_frame_behind_a_gap_stands_where_the_walk_does() {
    let mut source = FrameSource::new(test_partition(0), 1);
    let frames: Vec<TestFrame> = (0..4).map(|_| source.next(2, 300)).collect();
    // The frame at 2 is in no file: the one at 4 follows the one at 0.
    let mut reader = walk_over(&[&frames[0], &frames[2], &frames[3]]);
    assert_eq!(next_offset(&mut reader), Some(0));
    assert!(block_on(reader.next()).is_err(), "it is not the one that follows");
    assert!(block_on(reader.resume_behind_gap()).unwrap());
    assert_eq!((next_offset(&mut reader), next_offset(&mut reader)), (Some(4), Some(6)));
    // Behind damage it would be stepped over.
    let mut reader = walk_over(&[&frames[0], &frames[2], &frames[3]]);
    assert!(next_offset(&mut reader) == Some(0) && block_on(reader.next()).is_err());
    assert!(block_on(reader.resume_behind_damage()).unwrap());
    assert_eq!(next_offset(&mut reader), Some(6));
}

#[test]
fn a_frame_that_is_damaged_itself_is_no_gap() {
    let mut source = FrameSource::new(test_partition(0), 2);
    let mut frames: Vec<TestFrame> = (0..4).map(|_| source.next(2, 300)).collect();
    // Its header is whole: it says that it stands at 2, where the walk is.
    frames[1].body[7] ^= 1;
    let mut reader = walk_over(&[&frames[0], &frames[1], &frames[2], &frames[3]]);
    assert_eq!(next_offset(&mut reader), Some(0));
    assert!(block_on(reader.next()).is_err());
    assert!(block_on(reader.resume_behind_gap()).unwrap());
    assert_eq!(next_offset(&mut reader), Some(4));
    let mut reader = walk_over(&[&frames[0]]);
    assert_eq!(next_offset(&mut reader), Some(0));
    assert!(!block_on(reader.resume_behind_gap()).unwrap(), "nothing is behind it");
}
