//! `catnap migrate knative` over documents as people have them: what comes out is kept beside them as text, nothing of them is
//! lost without a word, and the program ends as it says.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod support {
    pub(crate) mod leaves;
}

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use catnap_cli::manifest;
use catnap_cli::migrate::knative::{self, Migrated};
use catnap_cli::migrate::notes::Outcome;
use catnap_cli::migrate::{Format, functions, objects, parse, report};
use rstest::rstest;
use serde_json::Value;
use support::leaves::{change, is_within, leaves};

fn documents() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/knative");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 25, "{files:?}");
    files
}

fn read(path: &Path) -> Vec<Value> {
    parse(path, &fs::read_to_string(path).unwrap()).unwrap()
}

fn converted(documents: Vec<Value>) -> Vec<Migrated> {
    knative::convert(objects::objects(documents, 1))
}

/// All that a person sees.
fn shown(migrated: &[Migrated]) -> String {
    format!("{}\n======\n\n{}", functions(migrated, Format::Yaml).unwrap(), report(migrated))
}

#[test]
fn each_document_becomes_what_is_kept_beside_it() {
    for path in documents() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, shown(&converted(read(&path))));
    }
}

#[test]
fn every_function_passes_the_check_as_it_is_printed() {
    let mut count = 0;
    for path in documents() {
        let migrated = converted(read(&path));
        let made: Vec<_> = migrated.iter().filter_map(|one| one.function.clone()).collect();
        for format in [Format::Yaml, Format::Json] {
            let text = functions(&migrated, format).unwrap();
            // As kubectl reads it, and as Catnap does.
            let by_kubectl = objects::objects(parse(&path, &text).unwrap(), 1);
            let again: Vec<Value> = by_kubectl.into_iter().map(|object| object.value).collect();
            assert_eq!(again, made, "{}: {text}", path.display());
            count += made.len();
        }
        for function in made {
            manifest::function(&path, function).unwrap();
        }
    }
    assert!(count > 60, "{count}");
}

/// Whoever changes a part of a document finds it in what comes out, or a note says that the part does nothing.
#[test]
fn no_part_is_lost_without_a_word() {
    for path in documents() {
        let documents = read(&path);
        let before = converted(documents.clone());
        let shown_before = shown(&before);
        for (index, document) in documents.iter().enumerate() {
            for leaf in leaves(document) {
                let mut changed = documents.clone();
                change(changed[index].pointer_mut(&leaf.pointer).unwrap());
                let told = before.iter().filter(|one| one.object.position.0 == index + 1).any(|one| {
                    let ignored = one
                        .notes
                        .iter()
                        .filter(|note| matches!(note.outcome, Outcome::LeftOut | Outcome::NotNeeded));
                    one.refused.is_some() || ignored.into_iter().any(|note| is_within(&leaf.path, &note.path))
                });
                if !told {
                    let shown = shown(&converted(changed));
                    assert_ne!(shown, shown_before, "{}: {} is lost", path.display(), leaf.path);
                }
            }
        }
    }
}

/// The account by which the test above knows what is told: each leaf has a note, of itself or of what it is in.
#[test]
fn every_leaf_has_a_note() {
    for path in documents() {
        for one in converted(read(&path)).iter().filter(|one| one.refused.is_none()) {
            let noted: BTreeSet<_> = one.notes.iter().map(|note| note.path.as_str()).collect();
            for leaf in leaves(&one.object.value) {
                let told = noted.iter().any(|note| is_within(&leaf.path, note));
                assert!(told, "{}: {}", path.display(), leaf.path);
            }
        }
    }
}

fn migrate(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_catnap"))
        .args(["migrate", "knative"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn file(name: &str) -> String {
    documents().into_iter().find(|path| path.ends_with(name)).unwrap().to_str().unwrap().to_owned()
}

#[rstest]
#[case::all_of_it("01-smallest.yaml", &[], 0, "")]
#[case::strictly_all_of_it("01-smallest.yaml", &["--strict"], 0, "")]
#[case::some_left_out("22-unknown-fields.yaml", &[], 0, "")]
#[case::strictly_some_left_out("22-unknown-fields.yaml", &["--strict"], 1, "parts were left out")]
#[case::some_refused("23-refused.yaml", &[], 1, "9 of the objects could not be converted")]
#[case::no_such_form("01-smallest.yaml", &["-o", "toml"], 2, "possible values: yaml, json")]
fn the_program_ends_as_it_says(
    #[case] name: &str,
    #[case] flags: &[&str],
    #[case] code: i32,
    #[case] words: &str,
) {
    let output = migrate(&[&[file(name).as_str()], flags].concat(), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case::no_yaml("a: [", "is no YAML")]
#[case::nothing("# only a comment\n", "there is no object in the files")]
#[case::an_alias_bomb(
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
    "is no YAML"
)]
#[case::a_key_twice("a: 1\na: 2\n", "is no YAML")]
fn what_cannot_be_read_is_said(#[case] input: &str, #[case] words: &str) {
    let output = migrate(&["-"], input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_is_nested_too_deep_is_said() {
    let nested = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let output = migrate(&["-"], &nested);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is no YAML"), "{said}");
}

#[test]
fn what_is_no_text_is_said() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"kind: Service\nmetadata: {name: \xff}\n").unwrap();
    let output = migrate(&[file.path().to_str().unwrap()], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it is no text in UTF-8"), "{said}");
}

#[test]
fn the_report_has_nothing_in_it_that_a_terminal_would_obey() {
    let input = "apiVersion: serving.knative.dev/v1\nkind: \"Service\\e[2J\"\nmetadata: {name: a}\n";
    let output = migrate(&["-"], input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Service [2J") && !said.contains('\x1b'), "{said:?}");
}

#[test]
fn standard_input_and_several_files_belong_together() {
    let mapping = "apiVersion: serving.knative.dev/v1beta1\nkind: DomainMapping\nmetadata: {name: hello.example.com}\nspec: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: hello}}\n";
    let output = migrate(&[&file("01-smallest.yaml"), "-", "--output", "json"], mapping);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let function: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(function["spec"]["http"]["hosts"][0], "hello.example.com");
}

#[test]
fn a_folder_gets_a_file_for_each_function_and_revision() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("new");
    let arguments = [
        &*file("18-replay.yaml"),
        &*file("24-service-list.yaml"),
        "--output-directory",
        into.to_str().unwrap(),
    ];
    let output = migrate(&arguments, "");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let mut names: Vec<_> =
        fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["cart.1.yaml", "cart.2.yaml", "json.one.yaml", "json.two.yaml"]);
    for name in names {
        manifest::read(&into.join(name)).unwrap();
    }
}

#[test]
fn no_file_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.yaml");
    fs::copy(file("01-smallest.yaml"), &path).unwrap();
    let before = fs::read_to_string(&path).unwrap();
    let output =
        migrate(&[path.to_str().unwrap(), "--output-directory", folder.path().to_str().unwrap()], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains("hello.yaml"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let folder = tempfile::NamedTempFile::new().unwrap();
    let output =
        migrate(&[&file("01-smallest.yaml"), "--output-directory", folder.path().to_str().unwrap()], "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("cannot write"), "{said}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_catnap"))
        .args(["migrate", "knative", &file("25-five-of-a-team.yaml")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
