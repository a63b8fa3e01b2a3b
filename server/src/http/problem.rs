//! The one place that turns errors into HTTP.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chandlery_wire::{Code, Problem, problem::MEDIA_TYPE};

use crate::vault::Error;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        respond(self.0)
    }
}

pub(super) fn respond(error: Error) -> Response {
    let status = status_of(error.code);
    if status.is_server_error() {
        // Sentences only: an error never holds a value.
        tracing::error!(code = ?error.code, detail = %error.detail, "a request failed");
    }
    let problem =
        Problem::new(status.as_u16(), status.canonical_reason().unwrap_or_default(), error.code, error.detail)
            .with_hint(error.hint)
            .with_faults(error.faults);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, MEDIA_TYPE);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, 11.6.1: a 401 says how to authenticate.
        response = response.header(header::WWW_AUTHENTICATE, "Bearer");
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response = response.header(header::RETRY_AFTER, "1");
    }
    response.body(Body::from(body)).unwrap_or_default()
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadRequest | Code::InvalidName => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::SourceRefused => StatusCode::FORBIDDEN,
        Code::NotFound | Code::UnknownRegion => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Conflict => StatusCode::CONFLICT,
        Code::VersionConflict => StatusCode::PRECONDITION_FAILED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Invalid | Code::Unresolvable => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Integrity | Code::Internal | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Overloaded
        | Code::Sealed
        | Code::AuditUnavailable
        | Code::StoreUnavailable
        | Code::IdentityUnavailable
        | Code::SourceUnavailable
        | Code::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    }
}
