//! Blocks are done as a page says, and what is otherwise is an error: without a cluster, for no command asks one.

use super::*;
use crate::book::{page::blocks, perform};

fn shell() -> Shell {
    let surroundings =
        Surroundings { kubeconfig: String::new(), catnap: PathBuf::from("/bin/true"), programs: None };
    Shell::open(surroundings, 1, &[]).unwrap()
}

async fn done(shell: &mut Shell, page: &str) -> anyhow::Result<()> {
    for block in blocks(page)? {
        perform(shell, block.line, block.what).await?;
    }
    Ok(())
}

#[tokio::test]
async fn blocks_share_variables_a_folder_and_files() {
    let page = "\
```sh
name='a \"b\" $c'
mkdir below
cd below
```
```yaml file=one.yaml
two: 3
```
```sh
echo \"$name in ${PWD##*/}\"
cat ../one.yaml
ls ../docs/paths/knative/front.yaml ../charts/catnap/Chart.yaml
```
```text
a \"b\" $c in below
two: 3
...
```
";
    let mut shell = shell();
    done(&mut shell, page).await.unwrap();
    shell.close().await.unwrap();
}

#[tokio::test]
async fn manifests_say_what_is_so_here() {
    let surroundings =
        Surroundings { kubeconfig: String::new(), catnap: PathBuf::from("/bin/true"), programs: None };
    let mut shell = Shell::open(surroundings, 1, &[("REGISTRY/hello:1.0", "here:dev")]).unwrap();
    let page = "```sh\ngrep --no-filename image: docs/paths/knative/front.yaml\n```\n```text\n- image: here:dev\n```\n";
    done(&mut shell, page).await.unwrap();
}

#[tokio::test]
async fn what_is_not_as_the_page_says_is_an_error() {
    for (page, complaint) in [
        ("```sh\nfalse\ntrue\n```\n", "ended with 1, not with 0"),
        ("```sh\nfalse | cat\n```\n", "ended with 1, not with 0"),
        ("```sh exit=7\ntrue\n```\n", "ended with 0, not with 7"),
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "printed:\none"),
        ("```sh\nkill -KILL $$\n```\n", "SIGKILL"),
    ] {
        let error = format!("{:#}", done(&mut shell(), page).await.unwrap_err());
        assert!(error.contains(complaint), "{page}: {error}");
    }
    done(&mut shell(), "```sh exit=7\n(exit 7)\n```\n").await.unwrap();
}

#[tokio::test]
async fn what_goes_on_is_ended_at_the_end_with_all_that_it_began() {
    let mut shell = shell();
    done(&mut shell, "```sh background\nsleep 1000 &\necho asleep\nwait\n```\n").await.unwrap();
    // Before that there is only bash, which ends without a word.
    let asleep = async {
        while !shell.heard().contains("asleep") {
            tokio::task::yield_now().await;
        }
    };
    timeout(ENDING, asleep).await.unwrap();
    let group = shell.groups[0];
    assert!(killpg(group, None).is_ok());
    shell.close().await.unwrap();
    assert!(killpg(group, None).is_err());
}

#[tokio::test]
async fn what_should_go_on_and_ends_is_an_error_that_shows_what_it_said() {
    let mut shell = shell();
    done(&mut shell, "\n```sh background\necho too soon\n```\n").await.unwrap();
    timeout(ENDING, shell.background[0].child.wait()).await.unwrap().unwrap();
    assert!(shell.heard().contains("too soon"));
    let error = format!("{:#}", shell.close().await.unwrap_err());
    assert!(error.contains("line 2 has ended by itself:\ntoo soon"), "{error}");
}
