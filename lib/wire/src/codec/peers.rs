//! Frames of the stream between activators, in both directions.

use super::decode::{at_most, decode_list, decode_name, required};
use super::{DecodeError, Decoded};
use crate::limits::MAX_PODS;
use crate::message::RevisionId;
use crate::peer as plain;
use crate::peer::MAX_SLOTS;
use crate::peers_proto as proto;

impl From<&plain::PeerFrame> for proto::PeerFrame {
    fn from(frame: &plain::PeerFrame) -> Self {
        use plain::PeerFrame as Plain;
        use proto::peer_frame::Frame;
        let frame = match frame {
            Plain::Ping { number, met } => Frame::Ping(proto::Ping { number: *number, met: *met }),
            Plain::Pong { number } => Frame::Pong(proto::Pong { number: *number }),
            Plain::Leaving => Frame::Leaving(proto::Leaving {}),
            Plain::Bye => Frame::Bye(proto::Bye {}),
            Plain::Slots { revision, message } => Frame::Slots(proto::Slots {
                revision: Some(proto::Revision {
                    namespace: revision.namespace.to_string(),
                    name: revision.name.to_string(),
                    function_uid: revision.function_uid.to_string(),
                }),
                message: Some(encode_message(message)),
            }),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<proto::PeerFrame> for plain::PeerFrame {
    type Error = DecodeError;

    fn try_from(message: proto::PeerFrame) -> Decoded<Self> {
        use proto::peer_frame::Frame;
        Ok(match required("frame", message.frame)? {
            Frame::Ping(ping) => Self::Ping { number: ping.number, met: ping.met },
            Frame::Pong(pong) => Self::Pong { number: pong.number },
            Frame::Leaving(_) => Self::Leaving,
            Frame::Bye(_) => Self::Bye,
            Frame::Slots(slots) => {
                let revision = required("revision", slots.revision)?;
                Self::Slots {
                    revision: RevisionId {
                        namespace: decode_name("revision.namespace", &revision.namespace)?,
                        name: decode_name("revision.name", &revision.name)?,
                        function_uid: decode_name("revision.function_uid", &revision.function_uid)?,
                    },
                    message: decode_message(required("message", slots.message)?)?,
                }
            }
        })
    }
}

fn encode_message(message: &plain::SlotMessage) -> proto::slots::Message {
    use plain::SlotMessage as Plain;
    use proto::slots::Message;
    let text = |uids: &[std::sync::Arc<str>]| uids.iter().map(ToString::to_string).collect();
    match message {
        Plain::Claim => Message::Claim(proto::Claim {}),
        Plain::Unclaim => Message::Unclaim(proto::Unclaim {}),
        Plain::Mine => Message::Mine(proto::Mine {}),
        Plain::Released { turn, limit, open } => {
            let open = open
                .iter()
                .map(|open| proto::OpenExchanges { pod_uid: open.pod.to_string(), count: open.count });
            Message::Released(proto::Released { turn: *turn, limit: *limit, open: open.collect() })
        }
        Plain::NotMine { turn, instead } => Message::NotMine(proto::NotMine {
            turn: *turn,
            instead_pod_uid: instead.as_deref().unwrap_or_default().to_owned(),
        }),
        Plain::Usable { added, removed } => {
            Message::Usable(proto::Usable { added_pod_uids: text(added), removed_pod_uids: text(removed) })
        }
        Plain::Acquire { count } => Message::Acquire(proto::Acquire { count: *count }),
        Plain::Withdraw { count } => Message::Withdraw(proto::Withdraw { count: *count }),
        Plain::Grant { turn, pod } => Message::Grant(proto::Grant { turn: *turn, pod_uid: pod.to_string() }),
        Plain::Release { pod } => Message::Release(proto::Release { pod_uid: pod.to_string() }),
    }
}

fn decode_message(message: proto::slots::Message) -> Decoded<plain::SlotMessage> {
    use plain::SlotMessage as Plain;
    use proto::slots::Message;
    Ok(match message {
        Message::Claim(_) => Plain::Claim,
        Message::Unclaim(_) => Plain::Unclaim,
        Message::Mine(_) => Plain::Mine,
        Message::Released(released) => Plain::Released {
            turn: released.turn,
            limit: released.limit,
            open: decode_list("released.open", MAX_PODS, released.open, |open| {
                at_most("open.count", open.count.into(), MAX_SLOTS.into())?;
                Ok(plain::OpenExchanges {
                    pod: decode_name("open.pod_uid", &open.pod_uid)?,
                    count: open.count,
                })
            })?,
        },
        Message::NotMine(not_mine) => Plain::NotMine {
            turn: not_mine.turn,
            instead: match not_mine.instead_pod_uid.as_str() {
                "" => None,
                uid => Some(decode_name("not_mine.instead_pod_uid", uid)?),
            },
        },
        Message::Usable(usable) => Plain::Usable {
            added: decode_list("usable.added_pod_uids", MAX_PODS, usable.added_pod_uids, |uid| {
                decode_name("usable.added_pod_uids", &uid)
            })?,
            removed: decode_list("usable.removed_pod_uids", MAX_PODS, usable.removed_pod_uids, |uid| {
                decode_name("usable.removed_pod_uids", &uid)
            })?,
        },
        Message::Acquire(acquire) => {
            at_most("acquire.count", acquire.count.into(), MAX_SLOTS.into())?;
            Plain::Acquire { count: acquire.count }
        }
        Message::Withdraw(withdraw) => {
            at_most("withdraw.count", withdraw.count.into(), MAX_SLOTS.into())?;
            Plain::Withdraw { count: withdraw.count }
        }
        Message::Grant(grant) => {
            Plain::Grant { turn: grant.turn, pod: decode_name("grant.pod_uid", &grant.pod_uid)? }
        }
        Message::Release(release) => {
            Plain::Release { pod: decode_name("release.pod_uid", &release.pod_uid)? }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_NAME_BYTES;
    use crate::peer::{OpenExchanges, PeerFrame, SlotMessage};

    fn about(message: SlotMessage) -> PeerFrame {
        let revision = RevisionId { namespace: "a".into(), name: "b".into(), function_uid: "c".into() };
        PeerFrame::Slots { revision, message }
    }

    #[test]
    fn every_frame_survives_the_wire() {
        let open = vec![OpenExchanges { pod: "p".into(), count: 3 }];
        for frame in [
            PeerFrame::Ping { number: 7, met: true },
            PeerFrame::Pong { number: 7 },
            PeerFrame::Leaving,
            PeerFrame::Bye,
            about(SlotMessage::Claim),
            about(SlotMessage::Unclaim),
            about(SlotMessage::Mine),
            about(SlotMessage::Released { turn: 4, limit: 2, open }),
            about(SlotMessage::NotMine { turn: 4, instead: None }),
            about(SlotMessage::NotMine { turn: 4, instead: Some("q".into()) }),
            about(SlotMessage::Usable { added: vec!["p".into()], removed: vec!["q".into()] }),
            about(SlotMessage::Acquire { count: 1 }),
            about(SlotMessage::Withdraw { count: 2 }),
            about(SlotMessage::Grant { turn: 4, pod: "p".into() }),
            about(SlotMessage::Release { pod: "p".into() }),
        ] {
            assert_eq!(PeerFrame::try_from(proto::PeerFrame::from(&frame)), Ok(frame));
        }
    }

    #[test]
    fn what_is_too_large_or_missing_is_refused() {
        let refused = |frame: &PeerFrame| PeerFrame::try_from(proto::PeerFrame::from(frame)).unwrap_err();
        let too_many = about(SlotMessage::Acquire { count: MAX_SLOTS + 1 });
        assert!(matches!(refused(&too_many), DecodeError::TooLarge { field: "acquire.count", .. }));
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let long = about(SlotMessage::Release { pod: long.as_str().into() });
        assert!(matches!(refused(&long), DecodeError::BadName { field: "release.pod_uid", .. }));
        let open = vec![OpenExchanges { pod: "p".into(), count: 1 }; MAX_PODS + 1];
        let crowd = about(SlotMessage::Released { turn: 1, limit: 1, open });
        assert!(matches!(refused(&crowd), DecodeError::TooLarge { field: "released.open", .. }));
        let nothing = PeerFrame::try_from(proto::PeerFrame { frame: None });
        assert_eq!(nothing, Err(DecodeError::Missing { field: "frame" }));
    }
}
