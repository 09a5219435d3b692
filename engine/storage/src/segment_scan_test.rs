use super::*;
use crate::layout::segment_file;
use crate::log::tests::{Bench, dir};
use crate::testing::frames::TestFrame;

/// A segment file of 60 frames, sealed or not, with what is in it.
fn segment(sealed: bool) -> (Vec<u8>, Vec<TestFrame>, ScanEnd) {
    let mut bench = Bench::new(11, 150_000);
    for n in 0..if sealed { 90 } else { 40 } {
        bench.append(2, 1000 + n * 50);
        if n % 9 == 0 {
            bench.write_all_and_evict();
        }
    }
    bench.write_all_and_evict();
    let checkpoint = bench.log.checkpoint(Offset::ZERO);
    let next_offset = checkpoint.sealed.first().map_or(checkpoint.recovery_point.offset, |info| info.next_offset);
    let end = ScanEnd { position: checkpoint.recovery_point.next_frame_position, offset: next_offset };
    let frames = bench.frames.iter().filter(|frame| frame.header.base_offset() < next_offset).cloned().collect();
    (bench.disk.files().remove(&segment_file(&dir(), Offset::ZERO)).unwrap(), frames, end)
}

fn scan(bytes: &[u8], end: Option<ScanEnd>) -> (Vec<Vec<u8>>, Vec<ScanItem>) {
    let read = |position: u64, len: usize| {
        let start = usize::try_from(position).unwrap().min(bytes.len());
        Ok(bytes[start..bytes.len().min(start + len)].to_vec())
    };
    let mut scan = SegmentScan::open(read, bytes.len() as u64, end).unwrap();
    let (mut frames, mut others) = (Vec::new(), Vec::new());
    while let Some(item) = scan.next_item().unwrap() {
        match item {
            ScanItem::Frame(frame) => frames.push([frame.header.as_bytes().as_slice(), scan.body(&frame)].concat()),
            other => others.push(other),
        }
    }
    (frames, others)
}

fn bytes_of(frames: &[TestFrame]) -> Vec<Vec<u8>> {
    frames.iter().map(TestFrame::bytes).collect()
}

#[test]
fn a_sealed_segment_is_walked_to_its_recorded_end() {
    let (bytes, frames, _) = segment(true);
    let (found, others) = scan(&bytes, None);
    assert_eq!(found, bytes_of(&frames));
    let last = frames.last().unwrap().header.next_offset();
    assert!(matches!(others.as_slice(), [ScanItem::End { offset, .. }] if *offset == last), "{others:?}");
}

#[test]
fn an_active_segment_ends_where_the_checkpoint_says_or_unproven() {
    let (bytes, frames, end) = segment(false);
    let (found, others) = scan(&bytes, Some(end));
    assert_eq!(found, bytes_of(&frames));
    assert!(matches!(others.as_slice(), [ScanItem::End { .. }]), "{others:?}");
    let (found, others) = scan(&bytes, None);
    assert_eq!(found, bytes_of(&frames));
    assert!(matches!(others.as_slice(), [ScanItem::UnprovenEnd(_)]), "{others:?}");
}

#[test]
fn damage_is_named_and_the_frames_behind_it_are_shown() {
    let (bytes, frames, _) = segment(true);
    let position = 4096 + frames[..20].iter().map(|frame| frame.bytes().len()).sum::<usize>();
    for at in [position + 20, position + 150] {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        let (found, others) = scan(&bad, None);
        assert!(matches!(others.as_slice(), [ScanItem::Damage(_), ScanItem::Resumed { .. }, ScanItem::End { .. }]), "{others:?}");
        assert!(found.len() >= frames.len() - 2, "{} of {} frames", found.len(), frames.len());
        assert!(found.iter().all(|frame| bytes_of(&frames).contains(frame)));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let (bytes, _, end) = segment(true);
    for seed in 0..200u64 {
        let mut random = crate::testing::random::Random::new(seed);
        let mut bad = bytes.clone();
        for _ in 0..random.below(60) {
            let at = usize::try_from(random.below(bad.len() as u64)).unwrap().max(4096);
            bad[at] = random.next_u64() as u8;
        }
        let len = bad.len() - usize::try_from(random.below(3)).unwrap() * 4096;
        bad.truncate(len);
        let _ = scan(&bad, None);
        let _ = scan(&bad, Some(end));
    }
}
