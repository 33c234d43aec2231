//! Which of the activators acts first for a revision: rendezvous hashing over the live members, the same everywhere.

use catnap_wire::message::{PodUid, RevisionId};

/// Whether `own` is the first choice among `members` for this revision. Alone, or unknown to the others, one acts at once.
pub fn is_first(revision: &RevisionId, own: &PodUid, members: &[PodUid]) -> bool {
    let own_weight = weight(revision, own);
    members.iter().all(|member| member == own || weight(revision, member) < own_weight)
}

/// FNV-1a with a final mix: all builds of all versions must agree, which the standard hasher does not promise.
pub(crate) fn weight(revision: &RevisionId, member: &PodUid) -> (u64, PodUid) {
    let parts = [&revision.namespace, &revision.name, &revision.function_uid, member];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^= hash >> 32;
    (hash, PodUid::clone(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_has_exactly_one_first_and_work_is_shared() {
        let members: Vec<PodUid> = ["a", "b", "c"].map(PodUid::from).to_vec();
        let mut firsts = [0; 3];
        for number in 0..300 {
            let revision = RevisionId {
                namespace: "default".into(),
                name: format!("hello-{number}").into(),
                function_uid: "u".into(),
            };
            let chosen: Vec<usize> =
                (0..3).filter(|&index| is_first(&revision, &members[index], &members)).collect();
            assert_eq!(chosen.len(), 1);
            firsts[chosen[0]] += 1;
        }
        assert!(firsts.iter().all(|&count| count > 50), "{firsts:?}");
    }

    #[test]
    fn alone_is_first() {
        let revision = RevisionId { namespace: "a".into(), name: "b".into(), function_uid: "c".into() };
        assert!(is_first(&revision, &"x".into(), &[]));
        assert!(is_first(&revision, &"x".into(), &["x".into()]));
    }
}
