use axum::Json;
use axum::extract::State;
use chandlery_wire::Problem;
use chandlery_wire::api::{Health, Ready};

use crate::http::app::App;
use crate::http::problem::Failure;

/// Whether the process lives.
#[utoipa::path(get, path = "/v1/health", security(()), responses((status = 200, body = Health)))]
pub(in crate::http) async fn live() -> Json<Health> {
    Json(Health { status: "live".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether it can serve; if not, why.
#[utoipa::path(get, path = "/v1/ready", security(()), responses(
    (status = 200, body = Ready),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "Sealed, or the store or the audit log is broken"),
))]
pub(in crate::http) async fn ready(State(app): State<App>) -> Result<Json<Ready>, Failure> {
    app.vault()?.ready().await?;
    Ok(Json(Ready { status: "ready".to_owned() }))
}
