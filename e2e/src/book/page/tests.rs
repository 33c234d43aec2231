//! Pages and what is found in them.

use super::*;

fn run(script: &str, code: i32, prints: Option<&str>) -> What {
    What::Run { script: script.to_owned(), code, prints: prints.map(str::to_owned) }
}

#[test]
fn each_mark_is_understood() {
    let page = "\
# A page

```sh
one
two
```

It prints

```text
three
```
```sh exit=7
fails
```
```sh background
stays
```
```python file=hello.py
print()
```
```yaml apply
kind: Function
```
```sh skip: needs a registry
podman push
```
```text
pushed
```
```yaml
spec: {}
```
```
a drawing
```
";
    let found: Vec<_> = blocks(page).unwrap().into_iter().map(|block| (block.line, block.what)).collect();
    assert_eq!(
        found,
        [
            (3, run("one\ntwo\n", 0, Some("three\n"))),
            (13, run("fails\n", 7, None)),
            (16, What::Background { script: "stays\n".to_owned() }),
            (19, What::File { name: "hello.py".to_owned(), content: "print()\n".to_owned() }),
            (22, What::Apply { manifest: "kind: Function\n".to_owned() }),
            (25, What::Skipped { reason: "needs a registry".to_owned() }),
        ]
    );
}

#[test]
fn a_page_that_is_not_clear_is_refused() {
    for (page, complaint) in [
        ("```sh\nnever ends\n", "line 1: the block has no end"),
        ("\n```text\nsaid by nobody\n```\n", "line 2: no commands before it print this"),
        ("```sh\na\n```\n```text\nb\n```\n```text\nc\n```\n", "line 7: no commands before it print this"),
        ("```sh exit=never\na\n```\n", "`exit=never` is no mark of a block"),
        ("```sh often\na\n```\n", "`often` is no mark of a block"),
        ("```yaml aply\na\n```\n", "`aply` is no mark of a block in yaml"),
        ("```bash\na\n```\n", "commands are in `sh`: nobody would run those in `bash`"),
        ("```sh skip:\na\n```\n", "a block that is not run says why"),
        ("```yaml file=../a\na\n```\n", "`../a` is not the name of a file"),
        ("- in a list\n  ```sh\n  a\n  ```\n", "line 2: a block begins in the first column"),
    ] {
        let error = format!("{:#}", blocks(page).unwrap_err());
        assert!(error.ends_with(complaint), "{error}");
    }
}
