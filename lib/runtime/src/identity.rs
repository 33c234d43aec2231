//! Who this process is: its pod, from the downward API, and the number of its boot.

use std::net::IpAddr;

/// The pod this process runs in. Every container of Catnap gets these variables from the downward API.
#[derive(Clone, Debug, clap::Args)]
pub struct Pod {
    /// Name of the pod this process runs in.
    #[arg(long = "pod-name", env = "POD_NAME")]
    pub name: String,
    /// Namespace Catnap is installed in.
    #[arg(long = "pod-namespace", env = "POD_NAMESPACE")]
    pub namespace: String,
    /// UID of the pod this process runs in.
    #[arg(long = "pod-uid", env = "POD_UID")]
    pub uid: String,
    /// IP address of the pod this process runs in.
    #[arg(long = "pod-ip", env = "POD_IP")]
    pub ip: IpAddr,
}

/// Random number of this start of the process. Call it once and hand it on: two calls give two numbers.
pub fn new_boot() -> u64 {
    rand::random()
}

/// Holder of a Lease: `<pod name>_<boot in hex>`, so that a restarted container is another holder.
pub fn holder(pod_name: &str, boot: u64) -> String {
    format!("{pod_name}_{boot:016x}")
}

/// The boot in a [`holder`]; `None` when it is none.
pub fn boot_of(holder: &str) -> Option<u64> {
    let (_, boot) = holder.rsplit_once('_')?;
    u64::from_str_radix(boot, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{boot_of, holder};

    #[test]
    fn a_holder_tells_two_boots_of_one_pod_apart() {
        assert_eq!(holder("catnap-autoscaler-0", 255), "catnap-autoscaler-0_00000000000000ff");
        assert_ne!(holder("a", 1), holder("a", 2));
        assert_eq!(boot_of(&holder("a", u64::MAX)), Some(u64::MAX));
        assert_eq!(boot_of("a"), None);
        assert_eq!(boot_of("a_b_xyz"), None);
    }
}
