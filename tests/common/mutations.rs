//! Changes to a file of a corpus, of the kinds that find most in decoders; the same ones for the same seed.
#![allow(unreachable_pub)]

use sluice_storage::testing::random::Random;

/// Up to four changes of the kinds that find most: a byte, a run of ends of ranges, a cut, a piece of another file.
pub fn mutated(bytes: &[u8], files: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut mutated = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let len = mutated.len();
        if len == 0 {
            break;
        }
        let at = below(random, len);
        match random.below(8) {
            0 | 1 => mutated[at] = random.next_u64().to_le_bytes()[0],
            2 => mutated[at] ^= 1 << random.below(8),
            3 | 4 => {
                let value = [0, 1, 0x7f, 0x80, 0xfe, 0xff][below(random, 6)];
                let run_len = [1, 2, 4, 8][below(random, 4)];
                mutated[at..len.min(at + run_len)].fill(value);
            }
            5 => mutated.truncate(at),
            6 => drop(mutated.drain(at..len.min(at + 1 + below(random, 16)))),
            _ => {
                let other = &files[below(random, files.len())].1;
                let from = below(random, other.len().max(1)).min(other.len());
                let piece = &other[from..other.len().min(from + 64)];
                mutated.splice(at..at, piece.iter().copied());
            }
        }
    }
    mutated
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap()
}
