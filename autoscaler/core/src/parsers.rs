//! What here reads bytes that were stored, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use std::time::Duration;

use crate::learned::{Learned, STORED_BYTES, Terms};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("learned", learned)];

/// What is accepted is written as the same bytes. More can be learned on top of it, and that is small and comes back, too.
fn learned(bytes: &[u8]) {
    let Ok(mut learned) = Learned::restored(bytes) else { return };
    assert_eq!(learned.stored(), bytes);
    let terms = Terms { after: Duration::from_secs(300), budget: 20 };
    for idle in [0, 1, 20, 3_600, 100_000].map(Duration::from_secs) {
        let ahead = learned.next_ahead(terms, idle);
        assert!(ahead.is_none_or(|ahead| ahead > idle), "{ahead:?} after {idle:?} of {bytes:?}");
        learned.outlook(terms, idle);
        learned.ended(terms, Duration::from_secs(1), idle);
        let stored = learned.stored();
        assert!(stored.len() <= STORED_BYTES, "{stored:?} of {bytes:?}");
        let again = Learned::restored(&stored).map(|learned| learned.stored());
        assert_eq!(again, Ok(stored), "of {bytes:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_of_any_kind_keep_the_promise(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for (_, parser) in PARSERS {
                parser(&bytes);
            }
        }

        #[test]
        fn intervals_of_any_kind_keep_the_promise(
            credit in any::<i32>(),
            count in prop_oneof![0_u16..14, 255_u16..300],
            width in 0_u16..200,
            weight in prop_oneof![1_u8..25, Just(255_u8)],
        ) {
            let mut bytes = vec![1];
            bytes.extend(credit.to_le_bytes());
            for interval in 0..count {
                let shortest = interval * 200;
                bytes.extend(shortest.to_le_bytes());
                bytes.extend((shortest + width).to_le_bytes());
                bytes.push(weight);
            }
            learned(&bytes);
        }
    }
}
