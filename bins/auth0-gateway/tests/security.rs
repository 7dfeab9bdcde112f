//! The table of docs/security.md, held against the tests it names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Named = BTreeMap<String, BTreeSet<u32>>;

/// Tests whose names begin with the threats they are about: `threat_4_and_27_…`, `threats_5_14_30_…`.
fn tests(folder: &Path, found: &mut Named) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !matches!(name, "node_modules" | "target") {
            tests(&path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text
                .split("fn ")
                .filter_map(|rest| rest.strip_prefix("threat"));
            for name in names.filter_map(|rest| rest.split_once('(')) {
                let mut parts = name.0.trim_start_matches('s').split('_').skip(1).peekable();
                let mut numbers = BTreeSet::new();
                while let Some(part) =
                    parts.next_if(|part| *part == "and" || part.parse::<u32>().is_ok())
                {
                    numbers.extend(part.parse::<u32>());
                }
                let words: Vec<&str> = parts.collect();
                found.entry(words.join("_")).or_default().extend(numbers);
            }
        }
    }
}

#[test]
fn every_threat_of_the_table_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Named::new();
    tests(&root.join("crates"), &mut found);
    tests(&root.join("bins"), &mut found);

    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut told = Named::new();
    let mut rows = 0;
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split(" | ");
        let Ok(number) = cells.next().unwrap().parse::<u32>() else {
            continue;
        };
        rows += 1;
        assert_eq!(number, rows, "the rows are in order, and none is left out");
        let proof = cells.nth(1).unwrap();
        let named = proof.split('`').skip(1).step_by(2);
        let mut count = 0;
        for name in named.filter(|name| name.contains('_')) {
            told.entry(name.to_owned()).or_default().insert(number);
            count += 1;
        }
        assert!(count > 0 || proof.starts_with("does not apply"), "{row}");
    }
    assert_eq!(told, found);
}
