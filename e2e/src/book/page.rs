//! The blocks of a page in Markdown, and what their info strings make of them.

use anyhow::Context as _;

const FENCE: &str = "```";

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins, from 1 on.
    pub(super) line: usize,
    pub(super) what: What,
}

/// What is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Commands that end with this code, and what they print, where the page says it.
    Run { script: String, code: i32, prints: Option<String> },
    /// Commands of another terminal.
    Background { script: String },
    /// A file in the folder that the commands run in.
    File { name: String, content: String },
    /// Objects for the cluster.
    Apply { manifest: String },
    /// Nothing, for this reason.
    Skipped { reason: String },
}

/// The blocks of a page that something is done with, in their order.
pub(super) fn blocks(page: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        let Some(info) = text.strip_prefix(FENCE) else {
            let indented = text.trim_start().starts_with(FENCE);
            anyhow::ensure!(!indented, "line {line}: a block begins in the first column");
            continue;
        };
        let mut content = String::new();
        loop {
            let (_, inside) = lines.next().with_context(|| format!("line {line}: the block has no end"))?;
            if inside.trim_end() == FENCE {
                break;
            }
            content.push_str(inside);
            content.push('\n');
        }
        let (language, mark) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
        if (language, mark) == ("text", "") {
            match blocks.last_mut().map(|block| &mut block.what) {
                Some(What::Run { prints, .. }) if prints.is_none() => *prints = Some(content),
                Some(What::Skipped { .. }) => {}
                _ => anyhow::bail!("line {line}: no commands before it print this"),
            }
            continue;
        }
        let what = what(language, mark, content).with_context(|| format!("line {line}"))?;
        blocks.extend(what.map(|what| Block { line, what }));
    }
    Ok(blocks)
}

fn what(language: &str, mark: &str, content: String) -> anyhow::Result<Option<What>> {
    if let Some(reason) = mark.strip_prefix("skip:") {
        let reason = reason.trim().to_owned();
        anyhow::ensure!(!reason.is_empty(), "a block that is not run says why");
        return Ok(Some(What::Skipped { reason }));
    }
    if let Some(name) = mark.strip_prefix("file=") {
        anyhow::ensure!(!name.is_empty() && !name.contains('/'), "`{name}` is not the name of a file");
        return Ok(Some(What::File { name: name.to_owned(), content }));
    }
    Ok(match (language, mark) {
        ("sh", "background") => Some(What::Background { script: content }),
        ("sh", mark) => {
            let code = if mark.is_empty() { Some("0") } else { mark.strip_prefix("exit=") };
            let code = code.and_then(|code| code.parse().ok());
            let code = code.with_context(|| format!("`{mark}` is no mark of a block"))?;
            Some(What::Run { script: content, code, prints: None })
        }
        ("yaml", "apply") => Some(What::Apply { manifest: content }),
        ("bash" | "shell" | "console" | "shell-session", _) => {
            anyhow::bail!("commands are in `sh`: nobody would run those in `{language}`")
        }
        (_, "") => None,
        (language, mark) => anyhow::bail!("`{mark}` is no mark of a block in {language}"),
    })
}

#[cfg(test)]
mod tests;
