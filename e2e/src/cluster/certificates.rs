//! The cluster's certificate authority, what it signs, and the kubeconfigs made of that.

use std::{fs, path::Path};

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{
    Error,
    network::{HOST_ADDRESS, KUBERNETES_SERVICE, node_address},
};

/// Port of the API server.
pub(super) const API_PORT: u16 = 6443;

/// The name under which the API server calls aggregated API servers.
pub(super) const FRONT_PROXY: &str = "front-proxy-client";

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Signed {
    certificate: String,
    key: String,
}

/// Writes every key, certificate and kubeconfig into this directory:
/// `ca.crt`, `ca.key`, `<name>.crt` and `.key` of servers, `<user>.kubeconfig`, and the key that signs ServiceAccount
/// tokens.
pub(super) fn create(directory: &Path, nodes: usize) -> Result<(), Error> {
    let authority = Authority::create(directory)?;
    let signing = KeyPair::generate().map_err(certificate("ServiceAccount tokens"))?;
    write(directory, "service-account.key", &signing.serialize_pem())?;
    write(directory, "service-account.pub", &signing.public_key_pem())?;

    let names = ["127.0.0.1", HOST_ADDRESS, KUBERNETES_SERVICE, "localhost", "kubernetes.default.svc"];
    let server = authority.sign("kube-apiserver", None, &names)?;
    write_pair(directory, "kube-apiserver", &server)?;
    let client = authority.sign("kube-apiserver-kubelet-client", Some("system:masters"), &[])?;
    write_pair(directory, "kubelet-client", &client)?;
    write_pair(directory, "front-proxy", &authority.sign(FRONT_PROXY, None, &[])?)?;

    let users = [
        ("admin", "catnap-admin", Some("system:masters")),
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
    ];
    for (file, user, group) in users {
        authority.write_kubeconfig(directory, file, user, group)?;
    }
    for number in 1..=nodes {
        let name = format!("node{number}");
        authority.write_kubeconfig(directory, &name, &format!("system:node:{name}"), Some("system:nodes"))?;
        let server = authority.sign(&name, None, &[&node_address(number), &name])?;
        write_pair(directory, &name, &server)?;
    }
    Ok(())
}

impl Authority {
    fn create(directory: &Path) -> Result<Self, Error> {
        const SUBJECT: &str = "catnap-cluster";
        let key = KeyPair::generate().map_err(certificate(SUBJECT))?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, SUBJECT);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let own = parameters.self_signed(&key).map_err(certificate(SUBJECT))?.pem();
        write(directory, "ca.crt", &own)?;
        write(directory, "ca.key", &key.serialize_pem())?;
        Ok(Self { certificate: own, issuer: Issuer::new(parameters, key) })
    }

    /// A certificate for client and server use: CN `user`, O `group`.
    fn sign(&self, user: &str, group: Option<&str>, names: &[&str]) -> Result<Signed, Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).map_err(certificate(user))?;
        parameters.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            parameters.distinguished_name.push(DnType::OrganizationName, group);
        }
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(certificate(user))?;
        let signed = parameters.signed_by(&key, &self.issuer).map_err(certificate(user))?;
        Ok(Signed { certificate: signed.pem(), key: key.serialize_pem() })
    }

    fn write_kubeconfig(
        &self,
        directory: &Path,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<(), Error> {
        let signed = self.sign(user, group, &[])?;
        // JSON is YAML.
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "catnap", "cluster": {
                "server": format!("https://{HOST_ADDRESS}:{API_PORT}"),
                "certificate-authority-data": ByteString(self.certificate.clone().into_bytes()),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": ByteString(signed.certificate.into_bytes()),
                "client-key-data": ByteString(signed.key.into_bytes()),
            }}],
            "contexts": [{"name": "catnap", "context": {"cluster": "catnap", "user": user}}],
            "current-context": "catnap",
        });
        write(directory, &format!("{file}.kubeconfig"), &format!("{kubeconfig:#}\n"))
    }
}

fn write_pair(directory: &Path, name: &str, signed: &Signed) -> Result<(), Error> {
    write(directory, &format!("{name}.crt"), &signed.certificate)?;
    write(directory, &format!("{name}.key"), &signed.key)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    fs::write(&path, text).map_err(Error::file("writing", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(Error::file("protecting", &path))
}

fn certificate(subject: &str) -> impl FnOnce(rcgen::Error) -> Error {
    let subject = subject.to_owned();
    move |source| Error::Certificate { subject, source }
}
