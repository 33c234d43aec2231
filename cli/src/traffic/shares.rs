//! Shares and tags as they are typed.

/// To whom requests go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The latest revision that proved itself, whichever that is.
    Latest,
    /// A revision; as it is typed, the beginning of its name.
    Revision(String),
}

/// How much goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) target: Target,
    pub(crate) percent: i32,
}

/// A name of its own for where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) tag: String,
    pub(crate) target: Target,
}

/// `REVISION=PERCENT` or `latest=PERCENT`.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let parsed = text.split_once('=').and_then(|(target, percent)| {
        let percent =
            percent.trim_end_matches('%').parse().ok().filter(|percent| (0..=100).contains(percent))?;
        Some(Share { target: target_of(target)?, percent })
    });
    parsed.ok_or_else(|| "write REVISION=PERCENT or latest=PERCENT, with 0 to 100 percent".to_owned())
}

/// `TAG=REVISION` or `TAG=latest`.
pub(super) fn tag(text: &str) -> Result<Tag, String> {
    let parsed = text.split_once('=').filter(|(tag, _)| !tag.is_empty());
    let parsed =
        parsed.and_then(|(tag, target)| Some(Tag { tag: tag.to_owned(), target: target_of(target)? }));
    parsed.ok_or_else(|| "write TAG=REVISION or TAG=latest".to_owned())
}

fn target_of(text: &str) -> Option<Target> {
    match text {
        "" => None,
        "latest" => Some(Target::Latest),
        name => Some(Target::Revision(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_tags_are_read() {
        assert_eq!(share("latest=10%"), Ok(Share { target: Target::Latest, percent: 10 }));
        let revision = Target::Revision("hello-7d".to_owned());
        assert_eq!(share("hello-7d=90"), Ok(Share { target: revision.clone(), percent: 90 }));
        assert_eq!(tag("next=hello-7d"), Ok(Tag { tag: "next".to_owned(), target: revision }));
        for text in ["latest", "=5", "latest=101", "latest=-1", "latest=x"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(tag("next=").is_err() && tag("=latest").is_err());
    }
}
