use axum::extract::State;
use axum::http::StatusCode;
use chandlery_wire::api::{CreateToken, CreatedToken, TokenInfo, TokenList};
use chandlery_wire::{EntryName, Problem};

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path};
use crate::http::problem::Failure;

/// The tokens within the caller's scopes, without their text.
#[utoipa::path(get, path = "/v1/tokens", responses(
    (status = 200, body = TokenList),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<TokenList>, Failure> {
    Ok(axum::Json(app.vault()?.tokens(&caller).await?))
}

/// Makes a token. Its text is in this reply and never again.
#[utoipa::path(post, path = "/v1/tokens", request_body = CreateToken, responses(
    (status = 201, body = CreatedToken),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Json(body): Json<CreateToken>,
) -> Result<(StatusCode, axum::Json<CreatedToken>), Failure> {
    Ok((StatusCode::CREATED, axum::Json(app.vault()?.create_token(&caller, body).await?)))
}

/// The caller's own token.
#[utoipa::path(get, path = "/v1/tokens/self", responses(
    (status = 200, body = TokenInfo),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn own(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
) -> Result<axum::Json<TokenInfo>, Failure> {
    Ok(axum::Json(app.vault()?.own_token(&caller).await?))
}

/// Revokes a token, from the next request on.
#[utoipa::path(delete, path = "/v1/tokens/{id}",
    params(("id" = String, Path, description = "`tok_…`", pattern = "^tok_[0-9a-f]{16}$")), responses(
    (status = 200, body = TokenInfo),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", body = Problem, content_type = "application/problem+json"),
))]
pub(in crate::http) async fn revoke(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    // A token's id has the form of an entry's name.
    Path((id,)): Path<(EntryName,)>,
) -> Result<axum::Json<TokenInfo>, Failure> {
    Ok(axum::Json(app.vault()?.revoke_token(&caller, id.as_str().to_owned()).await?))
}
