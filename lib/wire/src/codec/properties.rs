//! What every decoder promises, tried with bytes that come close to frames.

use proptest::prelude::*;
use prost::Message;

use super::parsers::{PARSERS, survives};
use crate::{message, proto};

/// A message of protobuf: fields with small numbers, whose values are numbers, short texts, or messages again.
fn encoded() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0_u64..5, any::<u64>()].prop_map(|value| (0, varint(value)));
    let text = prop_oneof!["[a-z]{0,3}", ".{0,5}"].prop_map(|text| (2, with_length(text.as_bytes())));
    let value = prop_oneof![number, text];
    value
        .prop_recursive(5, 60, 6, |value| {
            prop::collection::vec((1_u64..12, value), 0..6)
                .prop_map(|fields| (2, with_length(&message(&fields))))
        })
        .prop_flat_map(|value| (1_u64..12, Just(value)))
        .prop_map(|field| message(&[field]))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.extend(u8::try_from(value % 128 + 128));
        value /= 128;
    }
    bytes.extend(u8::try_from(value));
    bytes
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Fields by number, each with its wire type and value.
fn message(fields: &[(u64, (u64, Vec<u8>))]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(number, (kind, value))| [varint(number << 3 | kind), value.clone()].concat())
        .collect()
}

fn all_survive(bytes: &[u8]) {
    for (_, parser) in PARSERS {
        parser(bytes);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all_survive(&bytes);
    }

    #[test]
    fn any_message_is_a_frame_or_none(bytes in encoded()) {
        all_survive(&bytes);
    }

    #[test]
    fn a_frame_that_was_damaged_is_a_frame_or_none(
        names in prop::collection::vec("[a-z]{1,4}", 3),
        numbers in any::<(u64, u64, u32)>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let revision = message::RevisionId {
            namespace: names[0].as_str().into(),
            name: names[1].as_str().into(),
            function_uid: names[2].as_str().into(),
        };
        let gate = message::GateId {
            term: message::Term { transitions: numbers.0, boot: numbers.1 },
            number: numbers.1,
        };
        let frame = message::ActivatorFrame::Ack { revision: revision.clone(), gate };
        let mut bytes = proto::ActivatorFrame::from(&frame).encode_to_vec();
        prop_assert!(survives::<proto::ActivatorFrame, message::ActivatorFrame>(&bytes));
        *at.get_mut(&mut bytes) = byte;
        all_survive(&bytes);
        let (held, arrivals) = (u64::from(numbers.2) % 1_000, numbers.1 % 1_000);
        let wake = message::ActivatorFrame::Wake { revision, held, arrivals };
        let mut bytes = proto::ActivatorFrame::from(&wake).encode_to_vec();
        prop_assert!(survives::<proto::ActivatorFrame, message::ActivatorFrame>(&bytes));
        *at.get_mut(&mut bytes) = byte;
        all_survive(&bytes);
    }
}
