//! What surrounds every request: its audit line where no operation wrote one, its time limit, its headers.

use std::pin::pin;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use chandlery_wire::Code;
use tokio::time::timeout;

use super::app::App;
use super::problem::respond;
use crate::access::{Peer, Trail};
use crate::vault::Error;

/// The routes that need no token, read no entry, and therefore have no line: a health check every second would only
/// bury the others. Every other request has one.
pub(super) const OPEN: [&str; 3] = ["/v1/health", "/v1/ready", "/v1/openapi.json"];

/// Makes sure that a request which reached no operation of the vault has its audit line before its reply: an unknown
/// route, a body that is not JSON, a name that is none, a request that took too long.
pub(super) async fn audit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let trail = Trail::default();
    request.extensions_mut().insert(trail.clone());
    let open = OPEN.contains(&request.uri().path()) && matches!(request.method().as_str(), "GET" | "HEAD");
    let peer = request.extensions().get::<Peer>().copied();
    let action = action_of(&request);
    let mut response = next.run(request).await;
    if !open && !trail.is_marked() {
        let audited = match app.vault() {
            Ok(vault) => vault.audit_stray(&trail, peer, &action, response.status().as_u16()).await,
            // Sealed: the audit key is behind the same lock, and nothing is served.
            Err(sealed) => Err(sealed),
        };
        if let Err(error) = audited {
            response = respond(error);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The method and the route's pattern: never the path itself, which may hold anything.
fn action_of(request: &Request) -> String {
    let route = request.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "PATCH" | "OPTIONS") => known,
        _ => "(method)",
    };
    format!("{method} {route}")
}

/// Ends a request that takes too long, and one whose path is escaped: no name needs escaping, so an escape is somebody
/// trying whether `%2f` and `/` are told apart.
pub(super) async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path().contains('%') {
        return respond(
            Error::new(Code::InvalidName, "the path has a percent sign").hint("no name needs percent-encoding"),
        );
    }
    let trail = request.extensions().get::<Trail>().cloned().unwrap_or_default();
    let mut response = pin!(next.run(request));
    if let Ok(response) = timeout(app.limits.time, &mut response).await {
        return response;
    }
    // What waits for a change may take so much longer.
    timeout(trail.patience(), response).await.unwrap_or_else(|_| {
        respond(
            Error::new(Code::Timeout, "the request took too long")
                .hint("send it again; a write may have been done: look before repeating it"),
        )
    })
}
