//! Reading requests: path, query and body, each with an error of ours that repeats nothing of what was sent.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use chandlery_wire::{Code, Grant, NameError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};

use super::app::App;
use super::problem::Failure;
use crate::vault::Error;

/// The names in the path, parsed.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: PathNames> FromRequestParts<App> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let segments = axum::extract::RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| Error::new(Code::BadRequest, "the path cannot be read"))?;
        let segments: Vec<&str> = segments.iter().map(|(_, value)| value).collect();
        match T::parse(&segments) {
            Ok(names) => Ok(Self(names)),
            Err(error) => Err(invalid_name(&error).into()),
        }
    }
}

/// What the segments of a route stand for.
pub(super) trait PathNames: Sized {
    fn parse(segments: &[&str]) -> Result<Self, NameError>;
}

macro_rules! path_names {
    ($($name:ident),+) => {
        impl<$($name: std::str::FromStr<Err = NameError>),+> PathNames for ($($name,)+) {
            fn parse(segments: &[&str]) -> Result<Self, NameError> {
                let mut segments = segments.iter();
                // A route has as many segments as its handler takes names; were one to lack, it would be an empty name.
                Ok(($(segments.next().copied().unwrap_or_default().parse::<$name>()?,)+))
            }
        }
    };
}
path_names!(A);
path_names!(A, B);
path_names!(A, B, C);

fn invalid_name(error: &NameError) -> Error {
    Error::new(Code::InvalidName, error.to_string()).hint("names are taken exactly as they stand; see docs/API.md")
}

/// The query. Unknown and repeated keys are errors: a misspelt `regoin` must not mean the base.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Error::new(Code::BadRequest, format!("the query cannot be read: {}", quiet(text)))
                    .hint("docs/API.md lists what each route takes")
                    .into())
            }
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let is_json = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            return Err(Error::new(Code::UnsupportedMediaType, "the body must be JSON")
                .hint("send Content-Type: application/json")
                .into());
        }
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| {
            if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Error::new(Code::TooLarge, format!("the body has more than {} bytes", app.limits.body))
                    .hint("send fewer entries at once, or raise max_body_bytes")
            } else {
                Error::new(Code::BadRequest, "the body did not arrive whole")
            }
        })?;
        // serde would take a list for an object, field by field: then no key would be unknown.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'[') {
            return Err(Error::new(Code::BadRequest, "the body is a list, and this route takes an object")
                .hint("docs/API.md lists what each route takes")
                .into());
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            let detail = match error.classify() {
                serde_json::error::Category::Data => format!("the body is not what this route takes: {}", quiet(text)),
                _ => "the body is not JSON".to_owned(),
            };
            Error::new(Code::BadRequest, format!("{detail} ({at})"))
                .hint("docs/API.md lists what each route takes")
                .into()
        })
    }
}

/// serde's sentence without what it found: that may be a value.
fn quiet(text: &str) -> String {
    let text = text.split_once(": ").filter(|(path, _)| is_key(path)).map_or(text, |(_, rest)| rest);
    if text.starts_with("unknown field") {
        let known = text.rsplit_once(", expected ").map(|(_, known)| known).unwrap_or_default();
        return format!("a key is not known here; known is {known}");
    }
    if text.starts_with("unknown variant") {
        let known = text.rsplit_once(", expected ").map(|(_, known)| known).unwrap_or_default();
        return format!("a word is not known here; known is {known}");
    }
    if let Some((_, expected)) = text.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("something has the wrong type or value; expected was {expected}");
    }
    // What is left are sentences without what was found: serde's for missing and repeated keys, and the wire crate's.
    let known = ["missing field", "duplicate field", "the ", "a ", "an ", "no service", "\"base64\""];
    match known.iter().any(|start| text.starts_with(start)) {
        true => text.to_owned(),
        false => "something has the wrong form".to_owned(),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() < 32 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// `for=all` or `for=app,db` in a query.
pub(super) fn grant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Grant>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

/// `wait=30` in a query: whole seconds, 0 to [`LONGEST_WAIT`].
pub(super) fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Digits and nothing else: a number in Rust may have a sign.
    let seconds = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match seconds.filter(|seconds| *seconds <= LONGEST_WAIT) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(de::Error::custom(format_args!("the wait is a whole number of seconds, 0 to {LONGEST_WAIT}"))),
    }
}

/// Proxies cut silent connections off sooner or later, and a client that is gone without a word is noticed by then.
const LONGEST_WAIT: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_sentences_lose_what_was_found() {
        for (text, kept) in [
            ("unknown field `hunter2`, expected one of `a`, `b`", "`a`, `b`"),
            ("invalid type: string \"hunter2\", expected u64", "u64"),
            ("invalid value: string \"hunter2, expected x\", expected a verb", "a verb"),
            ("unknown field `a, expected hunter2`, expected `a`", "`a`"),
            ("unknown variant `a, expected hunter2`, expected one of `a`, `b`", "`a`, `b`"),
            ("missing field `value`", "`value`"),
            ("limit: invalid digit found in string hunter2", "wrong form"),
            ("the stack name has '/' at character 2; allowed are a-z", "character 2"),
        ] {
            let said = quiet(text);
            assert!(said.contains(kept) && !said.contains("hunter2"), "{said}");
        }
    }
}
