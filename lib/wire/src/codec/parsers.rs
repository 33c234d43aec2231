//! Whatever bytes arrive: decoding them never panics, and what it accepts is written and read again without a change.
//!
//! For the property tests and for fuzzing. A new frame is added to [`PARSERS`], and both try it.

use std::fmt::Debug;

use prost::Message;

use super::DecodeError;
use crate::{message, peer, peers_proto, proto, rates, rates_proto};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[
    ("activator_frame", |bytes| _ = survives::<proto::ActivatorFrame, message::ActivatorFrame>(bytes)),
    ("leader_frame", |bytes| _ = survives::<proto::LeaderFrame, message::LeaderFrame>(bytes)),
    ("wanted", |bytes| _ = survives::<rates_proto::Wanted, rates::Wanted>(bytes)),
    ("counted", |bytes| _ = survives::<rates_proto::Counted, rates::Counted>(bytes)),
    ("peer_frame", |bytes| _ = survives::<peers_proto::PeerFrame, peer::PeerFrame>(bytes)),
];

/// Reads the bytes as a frame. Gives whether it was accepted.
pub(super) fn survives<P, F>(bytes: &[u8]) -> bool
where
    P: Message + Default + for<'frame> From<&'frame F>,
    F: TryFrom<P, Error = DecodeError> + PartialEq + Debug,
{
    let Some(frame) = P::decode(bytes).ok().and_then(|decoded| F::try_from(decoded).ok()) else {
        return false;
    };
    let again = P::decode(&P::from(&frame).encode_to_vec()[..]).map(F::try_from);
    assert_eq!(again, Ok(Ok(frame)));
    true
}
