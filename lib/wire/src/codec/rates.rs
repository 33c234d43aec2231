//! Frames of the stream between the operator and the leading autoscaler, in both directions.

use super::decode::{at_most, decode_list, decode_name, required};
use super::{DecodeError, Decoded};
use crate::limits::{MAX_COUNTED, MAX_ENDED};
use crate::message::RevisionId;
use crate::rates as plain;
use crate::rates_proto as proto;

impl From<&plain::Wanted> for proto::Wanted {
    fn from(plain::Wanted(revisions): &plain::Wanted) -> Self {
        Self { revisions: revisions.iter().map(encode_revision).collect() }
    }
}

impl TryFrom<proto::Wanted> for plain::Wanted {
    type Error = DecodeError;

    fn try_from(message: proto::Wanted) -> Decoded<Self> {
        let decode = |revision| decode_revision(Some(revision));
        Ok(Self(decode_list("wanted.revisions", MAX_COUNTED, message.revisions, decode)?))
    }
}

impl From<&plain::Counted> for proto::Counted {
    fn from(plain::Counted(revisions): &plain::Counted) -> Self {
        Self { revisions: revisions.iter().map(encode_count).collect() }
    }
}

impl TryFrom<proto::Counted> for plain::Counted {
    type Error = DecodeError;

    fn try_from(message: proto::Counted) -> Decoded<Self> {
        Ok(Self(decode_list("counted.revisions", MAX_COUNTED, message.revisions, decode_count)?))
    }
}

fn encode_revision(revision: &RevisionId) -> proto::Revision {
    proto::Revision {
        namespace: revision.namespace.to_string(),
        name: revision.name.to_string(),
        function_uid: revision.function_uid.to_string(),
    }
}

fn encode_count(count: &plain::CountOf) -> proto::CountOf {
    let plain::CountOf { revision, ended, errors, complete } = count;
    proto::CountOf {
        revision: Some(encode_revision(revision)),
        ended: *ended,
        errors: *errors,
        complete: *complete,
    }
}

fn decode_revision(revision: Option<proto::Revision>) -> Decoded<RevisionId> {
    let revision = required("revision", revision)?;
    Ok(RevisionId {
        namespace: decode_name("revision.namespace", &revision.namespace)?,
        name: decode_name("revision.name", &revision.name)?,
        function_uid: decode_name("revision.function_uid", &revision.function_uid)?,
    })
}

fn decode_count(count: proto::CountOf) -> Decoded<plain::CountOf> {
    let proto::CountOf { revision, ended, errors, complete } = count;
    at_most("count.ended", ended, MAX_ENDED)?;
    at_most("count.errors", errors, ended)?;
    Ok(plain::CountOf { revision: decode_revision(revision)?, ended, errors, complete })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> plain::Counted {
        let revision =
            RevisionId { namespace: "shop".into(), name: "hello-1".into(), function_uid: "uid".into() };
        let known = plain::CountOf { revision, ended: 200, errors: 3, complete: true };
        let unknown = plain::CountOf { complete: false, ..known.clone() };
        plain::Counted(vec![known, unknown])
    }

    #[test]
    fn every_frame_survives_the_wire() {
        let wanted = plain::Wanted(counted().0.into_iter().map(|count| count.revision).collect());
        assert_eq!(plain::Wanted::try_from(proto::Wanted::from(&wanted)), Ok(wanted));
        assert_eq!(plain::Counted::try_from(proto::Counted::from(&counted())), Ok(counted()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut proto::CountOf)| {
            let mut frame = proto::Counted::from(&counted());
            change(&mut frame.revisions[0]);
            plain::Counted::try_from(frame).unwrap_err()
        };
        let too_large = |field, value, most| DecodeError::TooLarge { field, value, most };
        assert_eq!(refused(|count| count.errors = 201), too_large("count.errors", 201, 200));
        assert_eq!(
            refused(|count| count.ended = MAX_ENDED + 1),
            too_large("count.ended", MAX_ENDED + 1, MAX_ENDED)
        );
        assert_eq!(refused(|count| count.revision = None), DecodeError::Missing { field: "revision" });
        let many = vec![encode_revision(&counted().0[0].revision); MAX_COUNTED + 1];
        let refused = plain::Wanted::try_from(proto::Wanted { revisions: many });
        let (value, most) = (MAX_COUNTED as u64 + 1, MAX_COUNTED as u64);
        assert_eq!(refused, Err(too_large("wanted.revisions", value, most)));
    }
}
