//! One client a region, made when it is first needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::SharedHttpClient;
use aws_sdk_secretsmanager::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::OnceCell;

use super::error::{Endpoint, Failing, Operation, Subject};
use super::{Access, AwsError, AwsRegion, SecretId};

/// How long the whole of one operation may take while somebody waits for a reply.
const PROMPT: Duration = Duration::from_secs(5);
const PROMPT_ATTEMPTS: u32 = 3;
/// The same for an import of hundreds of secrets, which AWS may slow down.
const PATIENT: Duration = Duration::from_secs(180);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Whether somebody waits for the answer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// A container's bundle is being made.
    Prompt,
    /// An import or a push, with a progress bar.
    Patient,
}

/// AWS Secrets Manager, in all regions. To make one costs nothing; the first call looks for credentials.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    access: Access,
    shared: OnceCell<SdkConfig>,
    clients: Mutex<HashMap<(AwsRegion, Pace), Client>>,
    own_region: OnceCell<Option<AwsRegion>>,
    /// For what is told of a failure; empty where it is AWS's own.
    endpoint: OnceLock<Endpoint>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("access", &self.0.access).finish_non_exhaustive()
    }
}

impl Aws {
    #[must_use]
    pub fn new(access: Access) -> Self {
        let (shared, clients, own_region) = (OnceCell::new(), Mutex::default(), OnceCell::new());
        Self(Arc::new(Inner { access, shared, clients, own_region, endpoint: OnceLock::new() }))
    }

    #[must_use]
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    /// The region of the server itself, as AWS's tools find it: `AWS_REGION`, the profile, the instance's metadata.
    pub async fn own_region(&self) -> Option<AwsRegion> {
        let find = || async {
            // What is wrong with the way to the network is said by the call that needs it.
            let config = aws_config::defaults(BehaviorVersion::latest()).http_client(network().ok()?).load().await;
            config.region()?.as_ref().parse().ok()
        };
        self.0.own_region.get_or_init(find).await.clone()
    }

    pub(super) async fn client(&self, subject: &Subject<'_>, pace: Pace) -> Result<Client, AwsError> {
        let key = (subject.region.clone(), pace);
        if let Some(client) = self.lock().get(&key) {
            return Ok(client.clone());
        }
        let shared = self.0.shared.get_or_try_init(|| shared(subject)).await?;
        let endpoint = endpoint(shared.service_config()).map_err(|why| subject.fails(Failing::Misconfigured(why)))?;
        let mut config = aws_sdk_secretsmanager::config::Builder::from(shared);
        if let Some(endpoint) = &endpoint {
            self.0.endpoint.get_or_init(|| Endpoint::of(endpoint));
        }
        config.set_endpoint_url(endpoint);
        let config = config
            .region(Region::new(subject.region.as_str().to_owned()))
            .retry_config(self.retries(pace))
            .retry_partition(self.partition(subject.region, pace))
            .timeout_config(self.timeouts(pace))
            .build();
        let client = Client::from_conf(config);
        Ok(self.lock().entry(key).or_insert(client).clone())
    }

    /// What an operation is about, and where AWS is asked, once that is known.
    pub(super) fn subject<'a>(
        &'a self,
        operation: Operation,
        region: &'a AwsRegion,
        secret: Option<&'a SecretId>,
    ) -> Subject<'a> {
        Subject { operation, region, secret: secret.map(SecretId::as_str), endpoint: Some(&self.0.endpoint) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(AwsRegion, Pace), Client>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With jitter, as the SDK does it.
    fn retries(&self, pace: Pace) -> RetryConfig {
        let attempts = match pace {
            Pace::Prompt => self.0.access.attempts.min(PROMPT_ATTEMPTS),
            Pace::Patient => self.0.access.attempts,
        };
        RetryConfig::standard()
            .with_max_attempts(attempts.max(1))
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF)
    }

    /// The SDK gives up trying again after some hundred failures on one client. That protects AWS from many programs that
    /// try at once, and would end an import of hundreds of secrets in the middle; what bounds that one is the number of
    /// attempts for each call, and its deadline.
    fn partition(&self, region: &AwsRegion, pace: Pace) -> RetryPartition {
        let builder = RetryPartition::custom(format!("secretsmanager-{region}-{pace:?}"));
        match pace {
            Pace::Prompt => builder.build(),
            Pace::Patient => builder.token_bucket(TokenBucket::unlimited()).build(),
        }
    }

    fn timeouts(&self, pace: Pace) -> TimeoutConfig {
        let attempt = self.0.access.timeout.0;
        let whole = match pace {
            Pace::Prompt => PROMPT,
            Pace::Patient => PATIENT,
        };
        TimeoutConfig::builder()
            .connect_timeout(attempt)
            .operation_attempt_timeout(attempt)
            .operation_timeout(whole)
            .build()
    }
}

/// What all clients share: credentials, the way to the network, and the endpoint, where it is another than AWS's own.
async fn shared(subject: &Subject<'_>) -> Result<SdkConfig, AwsError> {
    // A web identity is exchanged in this region, where nothing names another. The instance's metadata is not asked:
    // on a machine that has none, that takes seconds.
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(Region::new(subject.region.as_str().to_owned()));
    let network = network().map_err(|why| subject.fails(Failing::Misconfigured(why)))?;
    Ok(aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(network).load().await)
}

/// Secrets Manager, as AWS's files write it. The SDK looks for `secrets-manager` in them, which nobody writes.
const SERVICE: &str = "secrets_manager";

/// Another endpoint than AWS's own, where the variables and files of AWS's tools name one: variables beat files, and what is
/// said for Secrets Manager beats what is said for all services. Where such words are to be ignored, all of them are: the
/// SDK by itself ignores those for all services alone.
fn endpoint(settings: Option<&dyn LoadServiceConfig>) -> Result<Option<String>, String> {
    let said = |env: &'static str, profile: &'static str| {
        let key = ServiceConfigKey::builder().service_id(SERVICE).env(env).profile(profile).build().ok()?;
        settings?.load_config(key).filter(|value| !value.is_empty())
    };
    let ignored = said("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls");
    if ignored.is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let Some(address) = said("AWS_ENDPOINT_URL", "endpoint_url") else { return Ok(None) };
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    match rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(|byte| byte.is_ascii_graphic())
    }) {
        true => Ok(Some(address)),
        // It is not quoted: there may be a password in it.
        false => {
            Err("what AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL or the profile's endpoint_url says is no \
            address; they are like https://vpce-0.secretsmanager.eu-west-1.vpce.amazonaws.com"
                .to_owned())
        }
    }
}

fn network() -> Result<SharedHttpClient, String> {
    let context = TlsContext::builder().with_trust_store(trust()?).build().map_err(|error| error.to_string())?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}

/// The host's certificates; or those of `AWS_CA_BUNDLE`, as the AWS command line has it, for an endpoint of one's own.
#[expect(clippy::disallowed_methods, reason = "the variables of AWS's tools are a convention, not a setting of ours")]
fn trust() -> Result<TrustStore, String> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else {
        return Ok(TrustStore::default());
    };
    let shown = std::path::Path::new(&path).display();
    let pem = std::fs::read(&path).map_err(|error| format!("AWS_CA_BUNDLE={shown} cannot be read: {error}"))?;
    // The SDK panics on what is no certificate.
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|error| error.to_string());
        added
            .and_then(|certificate| store.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| format!("AWS_CA_BUNDLE={shown} holds what is no certificate: {error}"))?;
    }
    match store.is_empty() {
        true => Err(format!("AWS_CA_BUNDLE={shown} holds no certificate")),
        false => Ok(TrustStore::empty().with_pem_certificate(pem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the SDK has found for a key: of the environment, and else of the files.
    #[derive(Debug)]
    struct Settings(&'static [(&'static str, &'static str)]);

    impl LoadServiceConfig for Settings {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            assert_eq!(key.service_id(), SERVICE);
            let found =
                |name: &str| self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string());
            found(key.env()).or_else(|| found(key.profile()))
        }
    }

    #[test]
    fn an_endpoint_is_an_address_or_nothing_or_wrong() {
        let here = Ok(Some("http://127.0.0.1:1".to_owned()));
        for (settings, endpoint) in [
            (&[][..], Ok(None)),
            (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], here.clone()),
            (&[("endpoint_url", "http://127.0.0.1:1")], here.clone()),
            (&[("AWS_ENDPOINT_URL", "")], Ok(None)),
            (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("ignore_configured_endpoint_urls", "false")], here),
            (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True")], Ok(None)),
            (&[("endpoint_url", "http://127.0.0.1:1"), ("ignore_configured_endpoint_urls", "true")], Ok(None)),
        ] {
            assert_eq!(super::endpoint(Some(&Settings(settings))), endpoint, "{settings:?}");
        }
        for wrong in ["not an address", "127.0.0.1:1", "ftp://a", "https://", "http:///x", "https://a b", "/x"] {
            let settings = Settings(Box::leak(Box::new([("AWS_ENDPOINT_URL", wrong)])));
            assert!(super::endpoint(Some(&settings)).is_err_and(|why| !why.contains("not an")), "{wrong}");
        }
        assert_eq!(super::endpoint(None), Ok(None));
    }
}
