//! The whole API on one screen.

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use chandlery_wire::Code;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::guard;
use super::problem::respond;
use super::routes::{
    audit, aws, bundles, changes, entries, explanations, health, nodes, openings, regions, stacks, tokens,
};
use crate::vault::Error;

/// The server's service.
pub fn router(app: App) -> Router {
    let (router, api) = api().split_for_parts();
    router
        .route("/v1/openapi.json", get(move || std::future::ready(Json(api.clone()))))
        .fallback(|| async { respond(Error::new(Code::NotFound, "there is no such route").hint(ROUTES_HINT)) })
        .method_not_allowed_fallback(|| async {
            respond(Error::new(Code::MethodNotAllowed, "this route does not take that method").hint(ROUTES_HINT))
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(app.limits.body))
        .layer(from_fn_with_state(app.clone(), guard::limit))
        .layer(from_fn_with_state(app.clone(), guard::audit))
        .with_state(app)
}

/// The API's description, as `GET /v1/openapi.json` gives it.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().split_for_parts().1
}

const ROUTES_HINT: &str = "GET /v1/openapi.json lists the routes; or see docs/API.md";

fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(bundles::of_environment))
        .routes(routes!(bundles::of_region))
        .routes(routes!(bundles::own))
        .routes(routes!(explanations::explain))
        .routes(routes!(entries::list, entries::write_many))
        .routes(routes!(entries::read, entries::write, entries::delete))
        .routes(routes!(entries::versions, entries::destroy))
        .routes(routes!(changes::change))
        .routes(routes!(changes::factor))
        .routes(routes!(changes::copy))
        .routes(routes!(changes::roll_back))
        .routes(routes!(aws::begin_import))
        .routes(routes!(aws::import_status, aws::import, aws::end_import))
        .routes(routes!(aws::begin_push))
        .routes(routes!(aws::push_status, aws::push))
        .routes(routes!(aws::pushed))
        .routes(routes!(regions::matrix))
        .routes(routes!(regions::compare))
        .routes(routes!(regions::check))
        .routes(routes!(stacks::list))
        .routes(routes!(stacks::read, stacks::declare))
        .routes(routes!(stacks::declare_environment))
        .routes(routes!(stacks::withdraw_region))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::read, nodes::place, nodes::remove))
        .routes(routes!(openings::list))
        .routes(routes!(openings::open, openings::close))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::own))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::query))
        .routes(routes!(audit::verify))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Chandlery", description = "Each container's own secrets and environment, in every region."),
    security(("token" = [])),
    modifiers(&Security)
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The panic's own message stays out of the reply and out of the log: nobody can promise what is in it.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    respond(Error::new(Code::Internal, "the server failed at this request").hint("the server's log says where"))
}
