//! The extractor that authenticates: the only way a handler comes by a caller.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chandlery_wire::Code;

use super::app::{App, Identity};
use super::problem::Failure;
use crate::access::{Caller, Peer, Trail};
use crate::identity::Process;
use crate::vault::Error;

/// The request's caller: by its bearer token (RFC 6750, section 2.1), or, on the unix socket, by its process.
#[derive(Debug)]
pub(super) struct Authenticated(pub(super) Caller);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let trail = parts.extensions.get::<Trail>().cloned().unwrap_or_default();
        let peer = parts.extensions.get::<Peer>().copied();
        if let (Some(identity), Some(process)) = (&app.identity, parts.extensions.get::<Arc<Process>>())
            && !parts.headers.contains_key(AUTHORIZATION)
        {
            return Ok(Self(by_process(app, identity, process, &parts.headers, peer, trail).await?));
        }
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let token = match (headers.next(), headers.next()) {
            (Some(header), None) => header.to_str().ok().and_then(bearer),
            _ => None,
        };
        let caller = app.vault()?.authenticate(token, peer, trail).await?;
        Ok(Self(caller))
    }
}

/// Our clients send it with every request without a token. A program that was talked into fetching a URL, by whoever it
/// serves, sends headers of its own and not this one.
const REQUEST_HEADER: &str = "x-chandlery-request";
/// Headers of a proxy: then it is not the process at the other end that asks, but whoever talks to it.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// Holds no token, and may be a container that needs none.
async fn by_process(
    app: &App,
    identity: &Identity,
    process: &Process,
    headers: &HeaderMap,
    peer: Option<Peer>,
    trail: Trail,
) -> Result<Caller, Failure> {
    let vault = app.vault()?;
    if headers.get(REQUEST_HEADER).is_none_or(|value| value != "true")
        || PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
    {
        let what = format!("there is no token, and {REQUEST_HEADER}: true is not there, or the headers of a proxy are");
        let error = Error::new(Code::Unauthenticated, what)
            .hint("send a token, or ask the socket directly with chandlery-entrypoint");
        return Err(vault.turn_away(peer, trail, error).await.into());
    }
    match identity.identifier.identify(process).await {
        Ok(container) => Ok(vault.admit(container, &identity.host, peer, trail).await?),
        Err(error) => Err(vault.turn_away(peer, trail, error).await.into()),
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
