//! The extractor that authenticates: the only way a handler comes by a caller.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::app::App;
use super::problem::Failure;
use crate::access::{Caller, Peer, Trail};

/// The request's caller, by its bearer token (RFC 6750, section 2.1).
#[derive(Debug)]
pub(super) struct Authenticated(pub(super) Caller);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let trail = parts.extensions.get::<Trail>().cloned().unwrap_or_default();
        let peer = parts.extensions.get::<Peer>().copied();
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let token = match (headers.next(), headers.next()) {
            (Some(header), None) => header.to_str().ok().and_then(bearer),
            _ => None,
        };
        let caller = app.vault()?.authenticate(token, peer, trail).await?;
        Ok(Self(caller))
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
