//! etcd, API server, controller manager and scheduler, on the machine's own network, and kwok where nodes are pretended.

use std::{fs, path::PathBuf};

use super::{
    super::{
        Error,
        certificates::{API_PORT, FRONT_PROXY},
        cgroup,
        network::{HOST_ADDRESS, POD_RANGE, SERVICE_RANGE},
        record::{ComponentRecord, Ready},
    },
    Layout,
};

// Not etcd's usual ports: a machine may have one of its own.
const ETCD_CLIENTS: &str = "http://127.0.0.1:12379";
const ETCD_PEERS: &str = "http://127.0.0.1:12380";
const KWOK: &str = "127.0.0.1:10247";

/// What kwok writes of nodes and pods.
const KWOK_STAGES: &str = include_str!("../../../cluster/kwok.yaml");

/// The four components, by name.
pub(in super::super) fn control_plane(layout: &Layout<'_>) -> [(&'static str, ComponentRecord); 4] {
    [
        ("etcd", component(layout, "etcd", etcd(layout), Ready::Http(format!("{ETCD_CLIENTS}/health")))),
        ("kube-apiserver", component(layout, "kube-apiserver", api_server(layout), Ready::Api)),
        (
            "kube-controller-manager",
            component(
                layout,
                "kube-controller-manager",
                controller_manager(layout),
                Ready::Port("127.0.0.1:10257".into()),
            ),
        ),
        (
            "kube-scheduler",
            component(layout, "kube-scheduler", scheduler(layout), Ready::Port("127.0.0.1:10259".into())),
        ),
    ]
}

/// Writes what kwok is to write.
pub(in super::super) fn prepare_kwok(layout: &Layout<'_>) -> Result<(), Error> {
    let directory = kwok_directory(layout);
    fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
    let path = directory.join("stages.yaml");
    fs::write(&path, KWOK_STAGES).map_err(Error::file("writing", &path))
}

/// kwok, in the place of the kubelets of nodes with the label `type=kwok`.
pub(in super::super) fn kwok(layout: &Layout<'_>) -> ComponentRecord {
    let directory = kwok_directory(layout);
    let arguments = vec![
        format!("--config={}", directory.join("stages.yaml").display()),
        format!("--kubeconfig={}", layout.certificate_file("admin.kubeconfig")),
        "--manage-nodes-with-label-selector=type=kwok".into(),
        "--node-lease-duration-seconds=40".into(),
        format!("--server-address={KWOK}"),
    ];
    ComponentRecord {
        program: layout.programs.extras.join("kwok"),
        // What a user has configured there would come first.
        environment: vec![("HOME".into(), directory.display().to_string())],
        ..component(layout, "kwok", arguments, Ready::Http(format!("http://{KWOK}/healthz")))
    }
}

fn kwok_directory(layout: &Layout<'_>) -> PathBuf {
    layout.directory.join("kwok")
}

fn component(layout: &Layout<'_>, name: &str, arguments: Vec<String>, ready: Ready) -> ComponentRecord {
    ComponentRecord {
        program: layout.programs.kubernetes.join(name),
        arguments,
        environment: Vec::new(),
        network_namespace: None,
        cgroup: cgroup::CONTROL_PLANE.into(),
        log: layout.log(name),
        ready,
        process: None,
    }
}

fn etcd(layout: &Layout<'_>) -> Vec<String> {
    vec![
        "--name=catnap".into(),
        format!("--data-dir={}", layout.directory.join("etcd").display()),
        format!("--listen-client-urls={ETCD_CLIENTS}"),
        format!("--advertise-client-urls={ETCD_CLIENTS}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=catnap={ETCD_PEERS}"),
        // The data is thrown away with the cluster.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server(layout: &Layout<'_>) -> Vec<String> {
    let file = |name: &str| layout.certificate_file(name);
    vec![
        format!("--etcd-servers={ETCD_CLIENTS}"),
        // A node's or the API server's address must not be loopback: endpoints with one are refused.
        format!("--advertise-address={HOST_ADDRESS}"),
        format!("--bind-address={HOST_ADDRESS}"),
        format!("--secure-port={API_PORT}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        // On, so that a missing permission fails here and not at a user's.
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("kube-apiserver.crt")),
        format!("--tls-private-key-file={}", file("kube-apiserver.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--requestheader-client-ca-file={}", file("ca.crt")),
        format!("--requestheader-allowed-names={FRONT_PROXY}"),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", file("front-proxy.crt")),
        format!("--proxy-client-key-file={}", file("front-proxy.key")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("service-account.pub")),
        format!("--service-account-signing-key-file={}", file("service-account.key")),
    ]
}

fn controller_manager(layout: &Layout<'_>) -> Vec<String> {
    let file = |name: &str| layout.certificate_file(name);
    let mut arguments = vec![
        format!("--service-account-private-key-file={}", file("service-account.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--use-service-account-credentials=true".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={POD_RANGE}"),
        "--node-cidr-mask-size=24".into(),
        // The defaults of 20 and 30 make the start alone take five seconds; hosted control planes raise them too.
        "--kube-api-qps=100".into(),
        "--kube-api-burst=200".into(),
        // By default every 15 seconds, for which a test would have to wait.
        "--horizontal-pod-autoscaler-sync-period=1s".into(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
    ];
    arguments.extend(controller(layout, "kube-controller-manager"));
    arguments
}

fn scheduler(layout: &Layout<'_>) -> Vec<String> {
    controller(layout, "kube-scheduler")
}

fn controller(layout: &Layout<'_>, name: &str) -> Vec<String> {
    let kubeconfig = layout.certificate_file(&format!("{name}.kubeconfig"));
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
    ]
}
