//! Every path that README.md, ARCHITECTURE.md and CONTRIBUTING.md name exists.

use std::path::Path;

#[test]
fn every_path_named_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect(document);
        for path in paths(&text) {
            named += 1;
            assert!(root.join(&path).exists(), "{document} names {path}, which does not exist");
        }
    }
    assert!(named > 50, "only {named} paths were found: the search for them is broken");
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
