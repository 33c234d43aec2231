//! Which files of a folder changed, and which of them a person changed: what a build writes beside the sources must not have it
//! built again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most files and folders that are looked at.
const MOST: usize = 50_000;
/// Folders that builds and package tools fill; what begins with a dot is left out too.
const FILLED_BY_TOOLS: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// A file that changed in so many builds, and never else, is made by them.
const MADE_AFTER: u32 = 2;

/// Time and length of each file when they were looked at.
pub(crate) type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// More files than are looked at.
#[derive(Debug, thiserror::Error)]
#[error("there are more than {MOST} files in {}; --watch-folder takes a smaller one", folder.display())]
pub(crate) struct TooManyError {
    folder: PathBuf,
}

/// Looks at everything below the folder. What cannot be read is not there; links are not followed.
pub(crate) fn look(folder: &Path) -> Result<Seen, TooManyError> {
    let mut seen = Seen::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        // One that goes meanwhile is a change like others.
        let Ok(entries) = fs::read_dir(&inner) else { continue };
        for entry in entries.flatten() {
            if is_left_out(&entry.file_name()) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                seen.insert(entry.path(), (metadata.modified().ok(), metadata.len()));
            }
            if seen.len() + open.len() > MOST {
                return Err(TooManyError { folder: folder.to_owned() });
            }
        }
    }
    Ok(seen)
}

fn is_left_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || FILLED_BY_TOOLS.iter().any(|tool| *tool == name)
}

fn difference(before: &Seen, after: &Seen) -> BTreeSet<PathBuf> {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    before.keys().chain(after.keys()).filter(differs).cloned().collect()
}

/// What is remembered from one build to the next.
#[derive(Debug)]
pub(crate) struct Changes {
    /// What the next look is compared with.
    seen: Seen,
    /// How often each file changed while a build ran.
    in_builds: BTreeMap<PathBuf, u32>,
    /// Files that changed while none did.
    by_hand: BTreeSet<PathBuf>,
    /// What changed in the last build: by it, or by a person meanwhile.
    last: BTreeSet<PathBuf>,
}

impl Changes {
    /// Begins with what is there.
    pub(crate) fn new(seen: Seen) -> Self {
        Self { seen, in_builds: BTreeMap::new(), by_hand: BTreeSet::new(), last: BTreeSet::new() }
    }

    /// What changed since the last look, without what builds make.
    pub(crate) fn since(&mut self, now: Seen) -> BTreeSet<PathBuf> {
        let mut news = difference(&self.seen, &now);
        news.retain(|path| !self.is_made(path));
        let last = std::mem::take(&mut self.last);
        self.by_hand.extend(news.difference(&last).cloned());
        self.seen = now;
        news
    }

    /// A build has ended, after which it looks like this. What changed meanwhile is news once more, unless builds make it: it
    /// may have changed after the build had read it.
    pub(crate) fn built(&mut self, after: &Seen) {
        self.last = difference(&self.seen, after);
        for path in &self.last {
            *self.in_builds.entry(path.clone()).or_default() += 1;
        }
    }

    fn is_made(&self, path: &Path) -> bool {
        self.in_builds.get(path).is_some_and(|times| *times >= MADE_AFTER) && !self.by_hand.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(files: &[(&str, u64)]) -> Seen {
        let time = |version: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(version));
        files.iter().map(|(name, version)| (PathBuf::from(name), (time(*version), 1))).collect()
    }

    fn names(paths: &BTreeSet<PathBuf>) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn new_changed_and_removed_files_are_news_once() {
        let mut changes = Changes::new(seen(&[("a", 1), ("b", 1), ("c", 1)]));
        let now = seen(&[("a", 2), ("b", 1), ("d", 1)]);
        assert_eq!(names(&changes.since(now.clone())), ["a", "c", "d"]);
        assert!(changes.since(now).is_empty());
    }

    #[test]
    fn what_builds_make_stops_being_news_and_what_a_person_edits_never_does() {
        let mut changes = Changes::new(seen(&[("source", 1), ("made", 1)]));
        // A build changes one, and a person the other while it runs: neither can be told from the other yet.
        changes.since(seen(&[("source", 2), ("made", 1)]));
        changes.built(&seen(&[("source", 3), ("made", 2)]));
        assert_eq!(names(&changes.since(seen(&[("source", 3), ("made", 2)]))), ["made", "source"]);
        changes.built(&seen(&[("source", 4), ("made", 3)]));
        // Twice in a build, but the source was edited by hand before.
        assert_eq!(names(&changes.since(seen(&[("source", 4), ("made", 3)]))), ["source"]);
        changes.built(&seen(&[("source", 4), ("made", 4)]));
        assert!(changes.since(seen(&[("source", 4), ("made", 4)])).is_empty());
    }

    #[test]
    fn folders_of_tools_and_hidden_files_are_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        for path in
            ["src/main.rs", "target/debug/out", ".git/index", "web/node_modules/x", "web/.swp", "app.py"]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let found = look(folder.path()).unwrap();
        let found: Vec<_> =
            found.keys().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(found, ["app.py", "src/main.rs"]);
        assert!(look(Path::new("/nowhere")).unwrap().is_empty());
    }
}
