//! The repository is tidy, and each rule finds what it is for.

use super::*;

#[test]
fn the_repository_is_tidy() {
    let findings = super::findings(workspace::root()).unwrap();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_tidy_file_has_no_faults() {
    let text = "//! What it is.\n\npub(crate) struct ControllerManagers;\npub type Utility = u8;\n";
    assert_eq!(faults(text), Vec::<String>::new());
}

#[test]
fn a_file_without_documentation_is_found() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("a.rs", "use std::fs;\n"), ("b.rs", "//! What it is.\n"), ("tests.rs", "use b;\n")]
    {
        fs::write(root.path().join(name), text).unwrap();
    }
    fs::create_dir(root.path().join("target")).unwrap();
    fs::write(root.path().join("target/built.rs"), "fn built() {}\n").unwrap();
    assert_eq!(super::findings(root.path()).unwrap(), ["a.rs: no module documentation in its first line"]);
}

#[test]
fn a_long_file_is_found() {
    let text = format!("//! Long.\n{}", "\n".repeat(LONGEST));
    assert_eq!(faults(&text), ["501 lines, more than 500"]);
}

#[test]
fn forbidden_words_are_found_with_their_line() {
    for (word, why) in FORBIDDEN {
        let text = format!("//! Words.\n    {word}\n");
        assert_eq!(faults(&text), [format!("line 2: `{word}`: {why}")]);
    }
}

#[test]
fn empty_names_are_found() {
    for declaration in ["pub struct PodManager {", "enum WakeHelper", "pub(crate) trait PathUtils {}"] {
        let faults = faults(&format!("//! Names.\n{declaration}\n"));
        assert_eq!(faults.len(), 1, "{declaration}: {faults:?}");
    }
}
