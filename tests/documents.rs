//! Every path that README.md, ARCHITECTURE.md, CONTRIBUTING.md and engine/storage/FAULTS.md name exists, and every test
//! that the last one names.

use std::path::Path;

#[test]
fn every_path_named_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "engine/storage/FAULTS.md"] {
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
