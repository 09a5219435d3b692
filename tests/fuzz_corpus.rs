//! The fuzz targets as plain tests: each over its corpus (`fuzz/corpus`), and over a few thousand mutations of every
//! file in it, the same ones at every run. What `cargo fuzz` finds is added to the corpus and stays found.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a library of its own behind cargo fuzz")]
mod targets;

#[path = "common/mutations.rs"]
mod mutations;

use mutations::mutated;
use sluice_storage::testing::random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Mutations of each file.
const MUTATION_COUNT: u64 = 2000;
/// Longest file of a corpus, and all of them together, bytes.
const FILE_LEN_MAX: usize = 4096;
const CORPUS_LEN_MAX: usize = 100 * 1024;
/// Files that our own encoders wrote: they have to be taken. The others only have to be survived.
const SEED_PREFIX: &str = "seed-";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of a target's corpus, by name.
fn files(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(corpus().join(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
}

#[test]
fn every_corpus_is_small_and_its_seeds_are_taken() {
    let mut corpus_len = 0;
    for (target, run) in targets::TARGETS {
        let files = files(target);
        assert!(files.keys().any(|name| name.starts_with(SEED_PREFIX)), "{target} has no seed");
        for (name, bytes) in files {
            assert!(bytes.len() <= FILE_LEN_MAX, "{target}/{name} has {} bytes", bytes.len());
            corpus_len += bytes.len();
            let taken = run(&bytes);
            assert!(taken || !name.starts_with(SEED_PREFIX), "{target}/{name} is refused; has the format changed? {REMEDY}");
        }
    }
    assert!(corpus_len <= CORPUS_LEN_MAX, "the corpus has {corpus_len} bytes");
}

const REMEDY: &str = "`cargo test --test fuzz_corpus -- --ignored` writes the seeds anew";

#[test]
fn no_mutation_of_a_corpus_makes_a_decoder_panic() {
    for (target, run) in targets::TARGETS {
        let files: Vec<(String, Vec<u8>)> = files(target).into_iter().collect();
        for (number, (name, bytes)) in (1..).zip(&files) {
            let mut random = Random::new(number);
            for round in 0..MUTATION_COUNT {
                let mutated = mutated(bytes, &files, &mut random);
                let survived = std::panic::catch_unwind(|| run(&mutated)).is_ok();
                assert!(survived, "mutation {round} of {target}/{name}: {mutated:02x?}");
            }
        }
    }
}

/// Not a test: after a change of a format, the seeds as the encoders write them now.
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_the_seeds() {
    for (target, name, bytes) in targets::seeds::seeds() {
        let folder = corpus().join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{SEED_PREFIX}{name}")), bytes).unwrap();
    }
}
