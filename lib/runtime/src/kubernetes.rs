//! The client of the API server, the same in every process: in the cluster, or by `KUBECONFIG`.

use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, header::InvalidHeaderValue};
use kube::{Client, Config};

/// Longest time to open a connection. Watches notice a dead one by their own idle time; other calls bring a timeout each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// Neither a kubeconfig nor a service account was found, or it cannot be read.
    #[error("cannot find out how to reach the API server")]
    Infer {
        /// What kube said.
        #[source]
        source: kube::config::InferConfigError,
    },
    /// The component's name is no header value.
    #[error("{component:?} cannot be part of a user agent")]
    UserAgent {
        /// The component.
        component: String,
        /// What is wrong with it.
        #[source]
        source: InvalidHeaderValue,
    },
    /// Certificates or credentials cannot be used.
    #[error("cannot make a client of the API server")]
    Build {
        /// What kube said.
        #[source]
        source: kube::Error,
    },
}

/// A client for `component` (its name and version become the user agent).
///
/// It never retries by itself: a write repeated out of sight could land after its sender gave it up.
pub async fn client(component: &str) -> Result<Client, KubernetesError> {
    let config = Config::infer().await.map_err(|source| KubernetesError::Infer { source })?;
    Client::try_from(configure(config, component)?).map_err(|source| KubernetesError::Build { source })
}

fn configure(mut config: Config, component: &str) -> Result<Config, KubernetesError> {
    let agent = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::try_from(agent)
        .map_err(|source| KubernetesError::UserAgent { component: component.to_owned(), source })?;
    config.headers.push((USER_AGENT, agent));
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    config.default_retry = false;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{Config, USER_AGENT, configure};

    #[test]
    fn a_client_names_itself_and_never_repeats_a_write_by_itself() {
        let config =
            configure(Config::new("http://127.0.0.1".parse().unwrap()), "catnap-autoscaler").unwrap();
        assert!(!config.default_retry);
        let (name, value) = &config.headers[0];
        assert_eq!(name, USER_AGENT);
        assert!(value.to_str().unwrap().starts_with("catnap-autoscaler/"));
    }
}
