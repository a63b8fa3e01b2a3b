use axum::extract::State;
use chandlery_wire::Problem;
use chandlery_wire::api::{AuditList, AuditVerification};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::Query;
use crate::http::problem::Failure;
use crate::vault::AuditQuery;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Parameters {
    /// Only records that name this entry.
    entry: Option<String>,
    /// Only records of this caller: a token's id, `anonymous` or `server`.
    caller: Option<String>,
    /// Only records from this time on: RFC 3339.
    since: Option<String>,
    /// Only records before this time: RFC 3339.
    until: Option<String>,
    /// The newest so many; 100 where it is left out.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// Audit records, oldest first.
#[utoipa::path(get, path = "/v1/audit", params(Parameters), responses(
    (status = 200, body = AuditList),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn query(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Query(Parameters { entry, caller: by, since, until, limit }): Query<Parameters>,
) -> Result<axum::Json<AuditList>, Failure> {
    let query = AuditQuery { entry, caller: by, since, until, limit };
    Ok(axum::Json(app.vault()?.audit_records(&caller, query).await?))
}

/// Checks the chain of the audit log, and names the first bad line.
#[utoipa::path(get, path = "/v1/audit/verification", responses(
    (status = 200, body = AuditVerification),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn verify(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<AuditVerification>, Failure> {
    Ok(axum::Json(app.vault()?.verify_audit(&caller).await?))
}
