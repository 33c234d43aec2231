//! Files that a person names, read with a bound: what is none may never end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of one: ten times what the API server takes of an object.
const MOST_BYTES: u64 = 16 << 20;

/// The text of a file; `-` is standard input.
pub fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        bounded(io::stdin().lock(), MOST_BYTES)
    } else {
        bounded(File::open(path)?, MOST_BYTES)
    }
}

fn bounded(from: impl Read, most_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most_bytes) {
        return Err(io::Error::other(format!("it has more than {most_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_or_is_no_text_is_refused() {
        assert_eq!(bounded(&b"hello"[..], 5).unwrap(), "hello");
        let said = |read: io::Result<String>| read.unwrap_err().to_string();
        assert_eq!(said(bounded(io::repeat(b'a'), 5)), "it has more than 5 bytes");
        assert_eq!(said(bounded(&b"a: \xff"[..], 5)), "it is no text in UTF-8");
    }
}
