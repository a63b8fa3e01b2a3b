//! What fails at AWS, in words: which secret, which region, which permission, and what to do. No message holds a value.

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use super::{AwsRegion, SecretId};

/// AWS's own sentence, as far as it is shown.
const LONGEST_SENTENCE: usize = 300;

/// What is asked of Secrets Manager; its name is that of the permission as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    GetSecretValue,
    BatchGetSecretValue,
    ListSecrets,
    DescribeSecret,
    CreateSecret,
    PutSecretValue,
    DeleteSecret,
    ReplicateSecretToRegions,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secretsmanager:{self:?}")
    }
}

impl Operation {
    /// AWS may repeat in its sentence what is wrong in a request, and such a request holds a value.
    fn sends_a_value(self) -> bool {
        matches!(self, Self::CreateSecret | Self::PutSecretValue)
    }
}

/// Why it failed: a kind a caller may branch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// The server's role may not do that. Holds the permission, where it is another than the operation's: KMS's.
    Refused(Option<&'static str>),
    /// There are no credentials, or they are not valid.
    NoCredentials(String),
    NotFound,
    /// Somebody wrote it since it was looked at.
    Moved,
    /// It waits to be deleted.
    Deleted,
    Exists,
    Throttled,
    /// No answer in time.
    TimedOut,
    Unreachable(String),
    /// The request cannot be carried out as it is.
    Invalid,
    /// A limit of the account or of the service.
    Limit,
    /// The key that encrypts the secret cannot be used.
    Key,
    /// What this machine has for AWS's tools cannot be used.
    Misconfigured(String),
    /// AWS's own fault, or something that is new to us.
    Broken(String),
}

/// One operation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    pub failing: Failing,
    operation: Operation,
    region: AwsRegion,
    /// The secret, or what was listed.
    secret: Option<String>,
    /// AWS's own sentence.
    said: Option<String>,
    /// Where AWS is asked, if elsewhere than at its own address.
    endpoint: Option<Endpoint>,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) operation: Operation,
    pub(super) region: &'a AwsRegion,
    pub(super) secret: Option<&'a str>,
    /// Known once there is a client.
    pub(super) endpoint: Option<&'a OnceLock<Endpoint>>,
}

/// Another endpoint than AWS's own, as it may be shown: its host and port, and no user of it. Nothing, where an `@` makes it
/// unclear which of it is the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint(Option<String>);

impl Endpoint {
    pub(super) fn of(address: &str) -> Self {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self((!path.contains('@') && !host.is_empty()).then(|| one_line(host)))
    }
}

impl<'a> Subject<'a> {
    pub(super) fn of(operation: Operation, region: &'a AwsRegion, secret: &'a SecretId) -> Self {
        Self { operation, region, secret: Some(secret.as_str()), endpoint: None }
    }

    pub(super) fn fails(&self, failing: Failing) -> AwsError {
        let (operation, region) = (self.operation, self.region.clone());
        let endpoint = self.endpoint.and_then(OnceLock::get).cloned();
        AwsError { failing, operation, region, secret: self.secret.map(str::to_owned), said: None, endpoint }
    }

    /// By AWS's code, with its sentence.
    pub(super) fn fails_with(&self, code: &str, sentence: &str) -> AwsError {
        let said = (!sentence.is_empty() && !self.operation.sends_a_value()).then(|| one_line(sentence));
        AwsError { said, ..self.fails(Failing::of_code(code, sentence)) }
    }

    pub(super) fn failed<E, R>(&self, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let error = service.err();
                self.fails_with(error.code().unwrap_or_default(), error.message().unwrap_or_default())
            }
            _ => self.fails(transport(error)),
        }
    }
}

/// What never got an answer.
fn transport<E, R>(error: &SdkError<E, R>) -> Failing
where
    E: Error + 'static,
    R: fmt::Debug + 'static,
{
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return no_credentials(error);
        }
        cause = error.source();
    }
    match error {
        SdkError::TimeoutError(_) => Failing::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failing::TimedOut,
        SdkError::DispatchFailure(_) => Failing::Unreachable(last(error)),
        // A reply that is none of AWS's: what it is must not be quoted.
        SdkError::ResponseError(_) => Failing::Broken("the answer is not one of Secrets Manager".to_owned()),
        _ => Failing::Broken(last(error)),
    }
}

fn no_credentials(error: &CredentialsError) -> Failing {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => Failing::NoCredentials(String::new()),
        _ => Failing::NoCredentials(causes(error)),
    }
}

/// Each cause once, from the outermost. What a program of the profile's wrote to stderr is left out: it may be anything.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        let text = text.split(" Stderr:").next().unwrap_or_default().trim_end_matches('.');
        if !said.iter().any(|earlier| earlier.contains(text)) {
            said.push(text.to_owned());
        }
        cause = error.source();
    }
    one_line(&said.join(": "))
}

/// The innermost cause says the most.
fn last(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}

/// Text from elsewhere, fit for a log and a terminal.
fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SENTENCE).collect();
    clean.trim().to_owned()
}

impl Failing {
    fn of_code(code: &str, sentence: &str) -> Self {
        // A code may come with a namespace or an address around it.
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        match code {
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" => {
                Self::Refused(sentence.contains("KMS").then_some("kms:Decrypt"))
            }
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "InvalidAccessKeyId"
            | "AuthFailure"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException" => {
                Self::NoCredentials(format!("AWS takes them for no good ({code})"))
            }
            "ResourceNotFoundException" => Self::NotFound,
            "ResourceExistsException" => Self::Exists,
            "InvalidRequestException" if sentence.contains("delet") => Self::Deleted,
            "InvalidRequestException"
            | "InvalidParameterException"
            | "ValidationException"
            | "ValidationError"
            | "InvalidNextTokenException"
            | "MalformedPolicyDocumentException"
            | "PreconditionNotMetException" => Self::Invalid,
            "DecryptionFailure" | "EncryptionFailure" => Self::Key,
            "LimitExceededException" => Self::Limit,
            "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "SlowDown" => Self::Throttled,
            "" => Self::Broken("it gave no reason".to_owned()),
            other => Self::Broken(one_line(other)),
        }
    }
}

impl AwsError {
    /// Whether it may be better in a while.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.failing, Failing::Throttled | Failing::TimedOut | Failing::Unreachable(_) | Failing::Broken(_))
    }

    /// The same, of one of the secrets that a call was about.
    #[must_use]
    pub(super) fn about(self, secret: &SecretId) -> Self {
        Self { secret: Some(secret.as_str().to_owned()), ..self }
    }

    #[must_use]
    pub fn region(&self) -> &AwsRegion {
        &self.region
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let (operation, region) = (self.operation, &self.region);
        match &self.failing {
            Failing::Refused(permission) => {
                let permission = permission.map_or_else(|| operation.to_string(), str::to_owned);
                format!("allow {permission} on it in the policy of the server's role; docs/AWS.md has a policy to copy")
            }
            Failing::NoCredentials(why) if why.is_empty() => "give the server a role of the instance or task, or \
                AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with a readable ~/.aws, and start it again"
                .to_owned(),
            Failing::NoCredentials(_) => "look at the role or the keys that the server has, and at its host's clock; \
                with new ones in its own variables it has to be started again"
                .to_owned(),
            Failing::NotFound => {
                format!("look at the name and the region: aws secretsmanager list-secrets --region {region}")
            }
            Failing::Moved => "look at the plan again: push again".to_owned(),
            Failing::Deleted => "restore it with aws secretsmanager restore-secret, or leave it out".to_owned(),
            Failing::Exists => "try again: somebody made it just now".to_owned(),
            Failing::Throttled => "wait a minute, and try again".to_owned(),
            Failing::TimedOut | Failing::Unreachable(_) => self.way(),
            Failing::Invalid => "look at the names, and at what AWS allows".to_owned(),
            Failing::Limit => "AWS allows no more of this; ask for a higher quota, or use fewer secrets".to_owned(),
            Failing::Key => {
                "look whether the KMS key of the secret is enabled, and whether the role may use it".to_owned()
            }
            Failing::Misconfigured(_) => "correct it, and try again".to_owned(),
            Failing::Broken(_) => "try again; if it stays, look at AWS's health page".to_owned(),
        }
    }
}

impl AwsError {
    /// What to look at where nothing comes back. Who reads it may be on another machine than the server.
    fn way(&self) -> String {
        const NAMED: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL or the profile's endpoint_url";
        let region = &self.region;
        match &self.endpoint {
            Some(Endpoint(Some(host))) => format!("look whether the server's host reaches {host}, which {NAMED} names"),
            Some(Endpoint(None)) => format!("look whether the server's host reaches what {NAMED} names"),
            None => {
                let china = if region.as_str().starts_with("cn-") { ".cn" } else { "" };
                format!(
                    "look whether the server's host reaches secretsmanager.{region}.amazonaws.com{china}; \
                    AWS_ENDPOINT_URL_SECRETS_MANAGER names another endpoint"
                )
            }
        }
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, region, .. } = self;
        let on = self.secret.as_deref().map(|secret| format!(" on {secret}")).unwrap_or_default();
        let secret = self.secret.as_deref().unwrap_or("Secrets Manager");
        match &self.failing {
            Failing::Refused(permission) => {
                write!(f, "AWS refuses {operation}{on} in {region}")?;
                permission.map_or(Ok(()), |permission| write!(f, ": {permission} is missing"))?;
            }
            Failing::NoCredentials(why) if why.is_empty() => {
                write!(f, "{operation}{on} in {region}: the server has no AWS credentials")?;
            }
            Failing::NoCredentials(why) => {
                write!(f, "{operation}{on} in {region}: the server's AWS credentials cannot be used: {why}")?;
            }
            Failing::NotFound => write!(f, "AWS has no {secret} in {region}, or not that version of it")?,
            Failing::Moved => write!(f, "{secret} in {region} was changed at AWS since the plan was made")?,
            Failing::Deleted => write!(f, "{secret} in {region} is marked for deletion at AWS")?,
            Failing::Exists => write!(f, "AWS has {secret} in {region} already")?,
            Failing::Throttled => write!(f, "AWS throttles {operation}{on} in {region}, and did so at every attempt")?,
            Failing::TimedOut => write!(f, "AWS did not answer {operation}{on} in {region} in time")?,
            Failing::Unreachable(why) => write!(f, "AWS cannot be reached for {operation}{on} in {region}: {why}")?,
            Failing::Invalid => write!(f, "AWS does not take {operation}{on} in {region} as it is")?,
            Failing::Limit => write!(f, "a limit of AWS keeps from {operation}{on} in {region}")?,
            Failing::Key => write!(f, "AWS cannot use the key of {secret} in {region}")?,
            Failing::Misconfigured(why) => write!(f, "{why}")?,
            Failing::Broken(why) => write!(f, "AWS failed at {operation}{on} in {region}: {why}")?,
        }
        match (&self.said, &self.failing) {
            (
                Some(said),
                Failing::Refused(_) | Failing::Invalid | Failing::Key | Failing::Limit | Failing::Broken(_),
            ) => {
                write!(f, " (AWS: {said})")
            }
            _ => Ok(()),
        }
    }
}

impl Error for AwsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(operation: Operation, code: &str, sentence: &str) -> AwsError {
        let (region, secret) = ("eu-west-1".parse().unwrap(), "app/env".parse().unwrap());
        Subject::of(operation, &region, &secret).fails_with(code, sentence)
    }

    #[test]
    fn a_refusal_names_the_permission_the_secret_and_the_region() {
        let refused = error(Operation::GetSecretValue, "AccessDeniedException", "User: x is not authorized");
        let text = refused.to_string();
        assert_eq!(
            text,
            "AWS refuses secretsmanager:GetSecretValue on app/env in eu-west-1 (AWS: User: x is not authorized)"
        );
        assert!(refused.hint().contains("allow secretsmanager:GetSecretValue"));
        let key = error(Operation::GetSecretValue, "AccessDeniedException", "Access to KMS is not allowed");
        assert!(key.to_string().contains("kms:Decrypt") && key.hint().contains("kms:Decrypt"));
    }

    #[test]
    fn who_is_to_look_at_the_way_is_told_from_where_and_to_where_and_no_password() {
        let (region, secret) = ("eu-west-1".parse().unwrap(), "app/env".parse().unwrap());
        let subject = Subject::of(Operation::GetSecretValue, &region, &secret);
        let hint = subject.fails(Failing::TimedOut).hint();
        assert!(hint.contains("the server's host reaches secretsmanager.eu-west-1.amazonaws.com;"), "{hint}");
        for (address, shown) in [
            ("https://vpce-0.example:8443/path?a", "reaches vpce-0.example:8443, which"),
            ("http://user:s3cr@et@vpce-0.example", "reaches vpce-0.example, which"),
            ("http://[::1]:5000", "reaches [::1]:5000, which"),
            ("http://user:s3cr/et@vpce-0.example", "reaches what AWS_ENDPOINT_URL"),
        ] {
            let endpoint = OnceLock::from(Endpoint::of(address));
            let subject = Subject { endpoint: Some(&endpoint), ..subject };
            for failing in [Failing::TimedOut, Failing::Unreachable("refused".to_owned())] {
                let error = subject.fails(failing);
                let hint = error.hint();
                assert!(hint.contains(shown) && !hint.contains("amazonaws"), "{address}: {hint}");
                assert!(!format!("{hint} {error} {error:?}").contains("s3cr"), "{address}: {hint}");
            }
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        for operation in [Operation::PutSecretValue, Operation::CreateSecret] {
            let invalid = error(operation, "ValidationException", "Value 's3cret' at 'secretString' is too long");
            assert_eq!(invalid.failing, Failing::Invalid);
            assert!(!format!("{invalid} {invalid:?} {}", invalid.hint()).contains("s3cret"));
        }
    }

    #[test]
    fn a_sentence_from_elsewhere_is_one_short_line() {
        let long = format!("a\n\u{1b}[31m{}", "x".repeat(5000));
        let text = error(Operation::GetSecretValue, "com.amazonaws#Strange:http://x", &long).to_string();
        assert!(text.len() < 500 && !text.contains(['\n', '\u{1b}']) && text.contains(": Strange"), "{text}");
    }
}
