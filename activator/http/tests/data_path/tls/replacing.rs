//! Certificates that change while the server runs.

use std::sync::Arc;
use std::time::Duration;

use super::material::{Issued, Secret, connect};
use super::{HTTP1, address, bed, one};
use crate::bed::{Bed, Setup, within};
use crate::client::Raw;
use crate::pod::{Pod, describe};

/// The certificate that a new client gets.
async fn shown(bed: &Bed) -> Vec<u8> {
    let stream = connect(address(bed), "hello.default", HTTP1).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (old, secret) = one();
    let (bed, certificates) = bed(&[&secret], |_| {});
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let following = tokio::spawn(Arc::clone(&certificates).follow(Duration::from_millis(5)));
    assert!(shown(&bed).await == *old.der);
    let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
    let new = Issued::to(&["hello.default"]);
    secret.replace(&new.certificate, &new.key);
    let renewed = async { while shown(&bed).await != *new.der {} };
    within("the new certificate is shown", renewed).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 200, "a connection outlives the certificate that it began with");
    following.abort();
}

#[tokio::test]
async fn what_cannot_be_used_leaves_what_was_there() {
    let (old, secret) = one();
    let (bed, certificates) = bed(&[&secret], |_| {});
    let other = Issued::to(&["hello.default"]);
    for (certificate, key) in [
        // The key of another one, no PEM, no certificate at all, half of one.
        (other.certificate.as_str(), old.key.as_str()),
        ("no certificate", "no key"),
        ("", ""),
        (&other.certificate[..other.certificate.len() / 2], other.key.as_str()),
    ] {
        secret.replace(certificate, key);
        certificates.reload();
        assert!(shown(&bed).await == *old.der, "{certificate}");
    }
    secret.empty();
    certificates.reload();
    assert!(shown(&bed).await == *old.der, "a deleted Secret");
    secret.replace(&other.certificate, &other.key);
    certificates.reload();
    assert!(shown(&bed).await == *other.der, "a good one again");
}

#[tokio::test]
async fn a_certificate_may_come_after_the_start() {
    let secret = Secret::mounted("", "");
    let (bed, certificates) = bed(&[&secret], |_| {});
    assert!(connect(address(&bed), "hello.default", HTTP1).await.is_err(), "there is nothing to show");
    let issued = Issued::to(&["hello.default"]);
    secret.replace(&issued.certificate, &issued.key);
    certificates.reload();
    assert!(shown(&bed).await == *issued.der);
}
