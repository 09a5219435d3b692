//! Every path that README.md, ARCHITECTURE.md, CONTRIBUTING.md, engine/storage/FAULTS.md and tuning/cluster.md name exists, and
//! every test that the table of faults names. Every example in the client's documentation runs somewhere.

use std::path::Path;

#[test]
fn every_path_named_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "engine/storage/FAULTS.md", "tuning/cluster.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect(document);
        for path in paths(&text) {
            named += 1;
            assert!(root.join(&path).exists(), "{document} names {path}, which does not exist");
        }
    }
    assert!(named > 50, "only {named} paths were found: the search for them is broken");
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let storage = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/storage");
    let text = std::fs::read_to_string(storage.join("FAULTS.md")).expect("FAULTS.md");
    let mut sources = String::new();
    for folder in ["src", "src/testing", "tests"] {
        for entry in std::fs::read_dir(storage.join(folder)).expect(folder) {
            let path = entry.expect(folder).path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(&path).expect("a source file");
            }
        }
    }
    let is_test = |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 20, "only {} tests were found: the search for them is broken", named.len());
    for name in named {
        assert!(
            sources.contains(&format!("#[test]\nfn {name}()")) || sources.contains(&format!("    #[test]\n    fn {name}()")),
            "FAULTS.md names {name}, which is no test"
        );
    }
}

/// An example needs no broker and is a test of rustdoc's, or it is a file of `net/client/examples`, word for word, and
/// `tests/client.rs` runs that against a broker.
#[test]
fn every_example_of_the_client_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = root.join("net/client");
    let runner = std::fs::read_to_string(root.join("tests/client.rs")).expect("tests/client.rs");
    let mut shown = 0;
    for path in sources(&client.join("src")) {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let mut lines = text.lines().map(str::trim_start);
        while let Some(line) = lines.next() {
            let Some(kind) = ["//! ```", "/// ```"].iter().find_map(|fence| line.strip_prefix(fence)) else { continue };
            shown += 1;
            let first = lines.next().unwrap_or_default();
            match kind {
                "" => assert!(!first.starts_with("#![doc"), "{}: {first} would need a broker", path.display()),
                "no_run" => assert!(
                    first.starts_with("#![doc = include_str!(\"../examples/"),
                    "{}: {first:?} would be compiled and never run: make it a file of examples",
                    path.display()
                ),
                kind => panic!("{}: an example that is {kind} does not run", path.display()),
            }
            while lines.next().is_some_and(|line| !line.ends_with("```")) {}
        }
    }
    assert!(shown >= 3, "only {shown} examples were found: the search for them is broken");
    for path in sources(&client.join("examples")) {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let is_run = runner.contains(&format!("examples/{name}.rs")) && runner.contains(&format!("{name}::"));
        assert!(is_run, "tests/client.rs does not run the example {name}");
    }
}

/// Every file of Rust in a folder and those in it.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Targets of links, and words in backquotes that look like a path of the repository.
fn paths(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links =
        links.filter(|link| !link.contains("://") && !link.starts_with('#')).map(|link| link.split('#').next().unwrap_or(link));
    let quoted = text.split('`').skip(1).step_by(2).filter(|word| looks_like_a_path(word));
    links.chain(quoted).map(ToOwned::to_owned).collect()
}

fn looks_like_a_path(word: &str) -> bool {
    const ROOTS: [&str; 8] = ["src/", "engine/", "replication/", "net/", "bench/", "tuning/", "tests/", ".ci/"];
    let plain = !word.contains(|c: char| c.is_whitespace() || "*{}<>…|".contains(c));
    plain && (ROOTS.iter().any(|root| word.starts_with(root)) || word.ends_with(".md"))
}
