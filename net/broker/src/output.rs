//! Answers of one connection on their way out.
//!
//! Answers are encoded once and kept as they are (a fetch answer is its header and slices of the tail); what is ready
//! goes out in one gathered send. The expensive mistake is a consumer that does not read: what waits here is reserved
//! in the shard's network budget by whoever made it, and the connection is not read while anything waits.

use crate::answer::AnswerFrames;
use crate::stages::AnswerTimes;
use bytes::Bytes;
use sluice_shard::Reservation;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Most slices of one gathered send.
pub(crate) const SLICES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are sent.
    head_sent: usize,
    /// Bytes not yet sent.
    len: usize,
    /// Bytes of them that no budget knows of.
    unreserved_len: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Given back when this piece is sent.
    _reservation: Option<Reservation>,
    is_unreserved: bool,
    /// Told when this piece is sent.
    times: Option<AnswerTimes>,
}

impl Output {
    /// Adds the pieces of one answer; the reservation is given back, and its times are told, when the last of them is
    /// sent.
    pub(crate) fn push(&mut self, head: Bytes, with: AnswerFrames) {
        let AnswerFrames { frames, mut reservation, mut times, .. } = with;
        let count = 1 + frames.len();
        let is_unreserved = reservation.is_none();
        for (index, bytes) in std::iter::once(head).chain(frames).enumerate() {
            self.len += bytes.len();
            self.unreserved_len += if is_unreserved { bytes.len() } else { 0 };
            let last = index + 1 == count;
            let (_reservation, times) = if last { (reservation.take(), times.take()) } else { (None, None) };
            self.pieces.push_back(Piece { bytes, _reservation, is_unreserved, times });
        }
        self.drop_sent(|_| {});
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes not yet sent.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the pieces not wholly sent that were made without a reservation.
    pub(crate) fn unreserved_len(&self) -> usize {
        self.unreserved_len
    }

    /// The next bytes to send; the number of slices filled in.
    pub(crate) fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut count = 0;
        for (index, piece) in self.pieces.iter().take(SLICES_MAX).enumerate() {
            let from = if index == 0 { self.head_sent } else { 0 };
            into[count] = IoSlice::new(&piece.bytes[from..]);
            count += 1;
        }
        count
    }

    /// `len` bytes were sent; at most what waits. `on_answered` is told of each answer whose last byte is among them.
    pub(crate) fn sent(&mut self, len: usize, on_answered: impl FnMut(AnswerTimes)) {
        let len = len.min(self.len);
        self.len -= len;
        self.head_sent += len;
        self.drop_sent(on_answered);
    }

    fn drop_sent(&mut self, mut on_answered: impl FnMut(AnswerTimes)) {
        while self.pieces.front().is_some_and(|piece| piece.bytes.len() <= self.head_sent) {
            if let Some(piece) = self.pieces.pop_front() {
                self.head_sent -= piece.bytes.len();
                self.unreserved_len -= if piece.is_unreserved { piece.bytes.len() } else { 0 };
                piece.times.into_iter().for_each(&mut on_answered);
            }
        }
        if self.pieces.is_empty() && self.pieces.capacity() > SLICES_MAX {
            self.pieces = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Stages;
    use sluice_partition::CommitTimes;
    use sluice_shard::Budget;

    fn flat(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = output.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn what_is_sent_in_pieces_goes_out_once_and_gives_its_bytes_back_at_the_end() {
        let budget = Budget::new(100);
        let mut output = Output::default();
        let frames = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cd")];
        let with = AnswerFrames { frames, reservation: budget.try_reserve(8), ..AnswerFrames::default() };
        output.push(Bytes::from_static(b"head"), with);
        output.push(Bytes::from_static(b"next"), AnswerFrames::default());
        assert_eq!((flat(&output), output.len(), output.unreserved_len()), (b"headabcdnext".to_vec(), 12, 4));
        output.sent(3, |_| {});
        output.sent(4, |_| {});
        assert_eq!((flat(&output), budget.used()), (b"dnext".to_vec(), 8));
        output.sent(1, |_| {});
        assert_eq!((flat(&output), budget.used()), (b"next".to_vec(), 0));
        output.sent(4, |_| {});
        assert!(output.is_empty() && flat(&output).is_empty());
    }

    #[test]
    fn more_pieces_than_one_send_takes_all_go_out_in_order() {
        let mut output = Output::default();
        for value in 0..200u8 {
            output.push(Bytes::from(vec![value]), AnswerFrames::default());
        }
        let mut seen = Vec::new();
        while !output.is_empty() {
            let bytes = flat(&output);
            output.sent(bytes.len(), |_| {});
            seen.extend(bytes);
        }
        assert_eq!(seen, (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn an_answer_is_timed_when_its_last_byte_is_sent() {
        let mut output = Output::default();
        let times = |began_us| Stages::default().on_committed(began_us, began_us, CommitTimes::default());
        for began_us in [1, 2] {
            let frames = vec![Bytes::from_static(b"abc")];
            output.push(
                Bytes::from_static(b"head"),
                AnswerFrames { frames, times: Some(times(began_us)), ..AnswerFrames::default() },
            );
        }
        let mut answered = |len| {
            let mut answered = Vec::new();
            output.sent(len, |times| answered.push(times));
            answered
        };
        assert_eq!([answered(4), answered(2), answered(2)], [vec![], vec![], vec![times(1)]]);
        assert_eq!([answered(5), answered(1), answered(9)], [vec![], vec![times(2)], vec![]]);
    }
}
