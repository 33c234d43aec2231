//! A reference page with a section for each program, which tests of the programs check, and write when `cargo xtask generate` asks
//! them to.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// One page.
pub(crate) struct Page {
    /// Below `docs/reference`.
    pub(crate) name: &'static str,
    /// Set where sections are to be written instead of checked.
    pub(crate) variable: &'static str,
    /// What comes before the sections.
    pub(crate) introduction: &'static str,
}

impl Page {
    /// Checks a program's section, or writes it. Says what to do when the page is stale.
    pub(crate) fn check(&self, program: &str, section: &str) -> Result<(), String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(self.name);
        let page = fs::read_to_string(&path).unwrap_or_default();
        let wanted = self.replaced(&page, program, section);
        if std::env::var_os(self.variable).is_some() {
            fs::write(&path, wanted).map_err(|error| format!("cannot write {}: {error}", path.display()))
        } else if page == wanted {
            Ok(())
        } else {
            Err(format!("docs/reference/{} is stale: run `cargo xtask generate`", self.name))
        }
    }

    /// The page with this section in its place, in the order of the names. A section begins with the program's name in a line.
    pub(crate) fn replaced(&self, page: &str, program: &str, section: &str) -> String {
        let others = page.split("\n## ").skip(1).filter(|other| !other.starts_with(&format!("{program}\n")));
        let mut sections: Vec<&str> = others.map(str::trim_end).chain([section.trim_end()]).collect();
        sections.sort_unstable();
        let mut page = self.introduction.to_owned();
        for section in sections {
            let _ = write!(page, "\n## {section}\n");
        }
        page
    }
}
