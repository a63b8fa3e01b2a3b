//! Every error of the API, in one shape (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What kind of problem it is. A program branches on this, and on nothing in the sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// 400: the request could not be read.
    BadRequest,
    /// 400: a name is not one.
    InvalidName,
    /// 401: no token, or one that is unknown, expired, revoked or used up.
    Unauthenticated,
    /// 403: the token may not do this. Whether the thing exists is not said.
    Forbidden,
    /// 404: there is no such route, stack, environment, service, entry, version or token.
    NotFound,
    /// 404: the region was never declared for the environment.
    UnknownRegion,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    Timeout,
    /// 409: it exists already, or is still in use.
    Conflict,
    /// 412: the entry is at another version than the write expects.
    VersionConflict,
    /// 413: the body or the value is too large.
    TooLarge,
    /// 415: the body is not JSON.
    UnsupportedMediaType,
    /// 422: the request was read, but what it asks for cannot be stored or made.
    Invalid,
    /// 422: the bundle cannot be made; `faults` names everything that is missing, empty or circular.
    Unresolvable,
    /// 429 or 503: too much at once.
    Overloaded,
    /// 500: a record in the store is not what was written; it is not served.
    Integrity,
    /// 500: the server's own fault.
    Internal,
    /// 503: the root key is not there, so nothing can be decrypted.
    Sealed,
    /// 503: the audit log cannot be written, so nothing is served.
    AuditUnavailable,
    /// 503: the database cannot be read or written.
    StoreUnavailable,
    /// 503: which container asks cannot be found out now, because Docker does not answer.
    IdentityUnavailable,
    /// 503: a value is kept outside, and its source cannot be asked now. `faults` names the entries.
    SourceUnavailable,
    /// 403: an outside source refuses the server, or the server's configuration does not let it be used so.
    SourceRefused,
    /// 503: the server is going down.
    ShuttingDown,
    /// A code of a newer server.
    #[serde(other)]
    Unknown,
}

/// One problem. `detail` says what is wrong and `hint` what to do about it; neither ever holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `about:blank`: the code tells more than a URL would.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    pub code: Code,
    pub detail: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Everything that is at fault, where it is more than one thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// One of several things at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fault {
    /// The entry, or the reference, at fault.
    pub name: String,
    pub detail: String,
}

fn blank() -> String {
    "about:blank".to_owned()
}

impl Problem {
    #[must_use]
    pub fn new(status: u16, title: &str, code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: blank(),
            title: title.to_owned(),
            status,
            code,
            detail: detail.into(),
            hint: String::new(),
            faults: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }
}

impl fmt::Display for Problem {
    /// The detail, and each fault on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.name, fault.detail))
    }
}

impl std::error::Error for Problem {}
