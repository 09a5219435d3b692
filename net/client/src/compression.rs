//! The four compressions of Kafka's batches, written as its Java client writes them.
//!
//! The expensive mistake is to believe what a compressed body says about its own size: nothing is allocated ahead of
//! what was really decompressed, and never more than the caller's limit.

use bytes::Bytes;
use sluice_model::record_batch::Compression;
use std::fmt;
use std::io::{self, Read, Write};

/// Default for the largest records section after decompression, bytes.
pub const DECOMPRESSED_LEN_MAX_DEFAULT: usize = 64 * 1024 * 1024;

/// "\x82SNAPPY\0", version 1, oldest compatible version 1: what xerial's snappy stream, and so Kafka's Java client,
/// begins with. Each chunk after it is a big-endian length and a raw snappy block.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes before compression in one xerial chunk.
const XERIAL_CHUNK_LEN: usize = 32 * 1024;
/// Snappy makes at most 64 bytes of 3; a block that promises more than this many times its length lies.
const SNAPPY_RATIO_MAX: usize = 32;

/// Why a body cannot be decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// It would become longer than allowed.
    TooLong {
        len_max: usize,
    },
    Damaged {
        codec: &'static str,
        text: String,
    },
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len_max } => write!(f, "the records are longer than {len_max} bytes after decompression"),
            Self::Damaged { codec, text } => write!(f, "the records are not valid {codec}: {text}"),
        }
    }
}

impl std::error::Error for DecompressError {}

/// Compresses a records section.
pub fn compress(compression: Compression, body: &[u8]) -> io::Result<Bytes> {
    let room = Vec::with_capacity(body.len() / 2 + 64);
    let compressed = match compression {
        Compression::None => return Ok(Bytes::copy_from_slice(body)),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::default());
            encoder.write_all(body)?;
            encoder.finish()?
        }
        Compression::Snappy => compress_xerial(body)?,
        Compression::Lz4 => {
            use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
            let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, room);
            encoder.write_all(body)?;
            encoder.finish().map_err(io::Error::other)?
        }
        // In one piece, so that the frame names its length and asks for no larger window than that.
        Compression::Zstd => zstd::bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL)?,
    };
    Ok(compressed.into())
}

/// Decompresses a records section to at most `len_max` bytes.
pub fn decompress(compression: Compression, body: &Bytes, len_max: usize) -> Result<Bytes, DecompressError> {
    let codec = compression.name();
    match compression {
        Compression::None if body.len() > len_max => Err(DecompressError::TooLong { len_max }),
        Compression::None => Ok(body.clone()),
        Compression::Gzip => read_bounded(codec, flate2::read::MultiGzDecoder::new(&body[..]), len_max),
        Compression::Snappy => decompress_snappy(body, len_max),
        Compression::Lz4 => read_bounded(codec, lz4_flex::frame::FrameDecoder::new(&body[..]), len_max),
        Compression::Zstd => {
            let damaged = |e: io::Error| DecompressError::Damaged { codec, text: e.to_string() };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(damaged)?;
            // A frame may ask for a window. It gets what the ordinary levels use, or as much as may come out.
            let window_log = len_max.next_power_of_two().ilog2().clamp(23, 27);
            decoder.window_log_max(window_log).map_err(damaged)?;
            read_bounded(codec, decoder, len_max)
        }
    }
}

/// Reads to the end, at most `len_max` bytes; memory grows with what has come.
fn read_bounded(codec: &'static str, reader: impl Read, len_max: usize) -> Result<Bytes, DecompressError> {
    let mut decompressed = Vec::new();
    let read = reader.take(len_max as u64 + 1).read_to_end(&mut decompressed);
    read.map_err(|e| DecompressError::Damaged { codec, text: e.to_string() })?;
    if decompressed.len() > len_max { Err(DecompressError::TooLong { len_max }) } else { Ok(decompressed.into()) }
}

fn compress_xerial(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for chunk in body.chunks(XERIAL_CHUNK_LEN) {
        let block = encoder.compress_vec(chunk)?;
        let len = u32::try_from(block.len()).map_err(io::Error::other)?;
        compressed.extend_from_slice(&len.to_be_bytes());
        compressed.extend_from_slice(&block);
    }
    Ok(compressed)
}

fn decompress_snappy(body: &[u8], len_max: usize) -> Result<Bytes, DecompressError> {
    let mut decompressed = Vec::new();
    let mut decoder = snap::raw::Decoder::new();
    let Some(mut chunks) = body.strip_prefix(&XERIAL_HEADER[..8]) else {
        append_snappy_block(&mut decoder, body, &mut decompressed, len_max)?;
        return Ok(decompressed.into());
    };
    let damaged = |text: &str| DecompressError::Damaged { codec: "snappy", text: text.into() };
    // The two version numbers say nothing that could be acted on.
    chunks = chunks.get(8..).ok_or_else(|| damaged("the stream header is cut short"))?;
    while !chunks.is_empty() {
        let (len, rest) = chunks.split_first_chunk::<4>().ok_or_else(|| damaged("a chunk length is cut short"))?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, rest) = rest.split_at_checked(len).ok_or_else(|| damaged("a chunk is cut short"))?;
        append_snappy_block(&mut decoder, block, &mut decompressed, len_max)?;
        chunks = rest;
    }
    Ok(decompressed.into())
}

fn append_snappy_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    decompressed: &mut Vec<u8>,
    len_max: usize,
) -> Result<(), DecompressError> {
    let damaged = |text: String| DecompressError::Damaged { codec: "snappy", text };
    let len = snap::raw::decompress_len(block).map_err(|e| damaged(e.to_string()))?;
    if len > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(damaged(format!("a block of {} bytes says it holds {len}", block.len())));
    }
    let start = decompressed.len();
    if len > len_max - start {
        return Err(DecompressError::TooLong { len_max });
    }
    decompressed.resize(start + len, 0);
    decoder.decompress(block, &mut decompressed[start..]).map_err(|e| damaged(e.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|n| b"the quick brown fox "[n % 20] ^ ((n / 977) as u8 & 3)).collect()
    }

    #[test]
    fn every_codec_reads_back_what_it_wrote() {
        for codec in Compression::ALL {
            for len in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 300_000] {
                let body = text(len);
                let compressed = compress(codec, &body).unwrap();
                assert_eq!(decompress(codec, &compressed, len).unwrap(), body, "{codec:?} {len}");
                if len > 0 {
                    let short = decompress(codec, &compressed, len - 1);
                    assert_eq!(short, Err(DecompressError::TooLong { len_max: len - 1 }), "{codec:?} {len}");
                }
                if len > 10_000 && codec != Compression::None {
                    assert!(compressed.len() < len / 2, "{codec:?} {len}");
                }
            }
        }
    }

    #[test]
    fn snappy_has_the_java_clients_framing_and_raw_blocks_are_read_too() {
        let compressed = compress(Compression::Snappy, b"hello hello hello").unwrap();
        assert_eq!(compressed[..16], XERIAL_HEADER);
        let raw: Bytes = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap().into();
        assert_eq!(compressed[16..20], (raw.len() as u32).to_be_bytes());
        assert_eq!(compressed[20..], raw);
        assert_eq!(decompress(Compression::Snappy, &raw, 100).unwrap(), &b"hello hello hello"[..]);
    }

    /// Little that claims or becomes a lot.
    #[test]
    fn bombs_are_refused() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let bomb = compress(codec, &vec![0u8; 50_000_000]).unwrap();
            assert_eq!(decompress(codec, &bomb, 1 << 20), Err(DecompressError::TooLong { len_max: 1 << 20 }), "{codec:?}");
        }
        let liar = Bytes::from_static(&[0xff, 0xff, 0xff, 0x1f, 0, 0]);
        assert!(matches!(decompress(Compression::Snappy, &liar, 1 << 30), Err(DecompressError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn damage_is_survived(codec in 1usize..5, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
            let codec = Compression::ALL[codec];
            let mut compressed = compress(codec, &text(5000)).unwrap().to_vec();
            for (at, value) in changes {
                let at = at.index(compressed.len());
                compressed[at] = value;
            }
            compressed.truncate(cut.index(compressed.len() + 1));
            if let Ok(decompressed) = decompress(codec, &compressed.into(), 100_000) {
                prop_assert!(decompressed.len() <= 100_000);
            }
        }
    }
}
