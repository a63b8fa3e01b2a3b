use axum::extract::State;
use chandlery_wire::api::{Destroyed, Entry, EntryList, NamedEntry, WriteEntries, WriteEntry, Written};
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, Problem, RegionName, StackName};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::app::App;
use crate::http::caller::Authenticated;
use crate::http::extract::{Json, Path, Query, grant};
use crate::http::problem::Failure;
use crate::store::LayerKey;
use crate::vault::{Destruction, Removal, Which};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LayerQuery {
    /// The overlay of this region; the base where it is left out.
    region: Option<RegionName>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct VersionQuery {
    /// The overlay of this region; the base where it is left out.
    region: Option<RegionName>,
    /// `all`, or services separated by commas, where the entry is set for several grants.
    #[serde(default, rename = "for", deserialize_with = "grant")]
    #[param(value_type = Option<String>)]
    grant: Option<Grant>,
    /// A version; the current one where it is left out.
    #[param(minimum = 1)]
    version: Option<u64>,
    /// The entry as it was: at a revision (`42`), or a time (RFC 3339).
    at: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DeleteQuery {
    /// The overlay of this region; the base where it is left out.
    region: Option<RegionName>,
    /// `all`, or services separated by commas, where the entry is set for several grants.
    #[serde(default, rename = "for", deserialize_with = "grant")]
    #[param(value_type = Option<String>)]
    grant: Option<Grant>,
    /// Take the entry away in this region, base or no base.
    #[serde(default)]
    hide_base: bool,
    /// Delete only if the entry is at this version.
    expect_version: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DestroyQuery {
    /// The overlay of this region; the base where it is left out.
    region: Option<RegionName>,
    /// The base and all overlays.
    #[serde(default)]
    all_layers: bool,
}

/// The entries of an environment: of all layers, or of the base and one overlay.
#[utoipa::path(get, path = "/v1/entries/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), LayerQuery),
    responses(
        (status = 200, body = EntryList),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Query(query): Query<LayerQuery>,
) -> Result<axum::Json<EntryList>, Failure> {
    Ok(axum::Json(app.vault()?.entries(&caller, stack, environment, query.region).await?))
}

/// Writes many entries into one layer, all or none.
#[utoipa::path(post, path = "/v1/entries/{stack}/{environment}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path)),
    request_body = WriteEntries,
    responses(
        (status = 200, body = Written),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn write_many(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment)): Path<(StackName, EnvironmentName)>,
    Json(body): Json<WriteEntries>,
) -> Result<axum::Json<Written>, Failure> {
    let layer = LayerKey { stack, environment, layer: Layer::from(body.region) };
    Ok(axum::Json(app.vault()?.write(&caller, layer, body.entries, body.dry_run).await?))
}

/// One version of an entry, as it was written.
#[utoipa::path(get, path = "/v1/entries/{stack}/{environment}/{name}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), VersionQuery),
    responses(
        (status = 200, body = Entry),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<VersionQuery>,
) -> Result<axum::Json<Entry>, Failure> {
    let layer = LayerKey { stack, environment, layer: Layer::from(query.region) };
    let which = Which { layer, name, grant: query.grant };
    let vault = app.vault()?;
    let entry = match query.at {
        Some(at) => vault.entry_at(&caller, which, query.version, at).await?,
        None => vault.entry(&caller, which, query.version).await?,
    };
    Ok(axum::Json(entry))
}

/// Writes a new version of an entry.
#[utoipa::path(put, path = "/v1/entries/{stack}/{environment}/{name}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), LayerQuery),
    request_body = WriteEntry,
    responses(
        (status = 200, body = Written),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn write(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<LayerQuery>,
    Json(entry): Json<WriteEntry>,
) -> Result<axum::Json<Written>, Failure> {
    let layer = LayerKey { stack, environment, layer: Layer::from(query.region) };
    Ok(axum::Json(app.vault()?.write(&caller, layer, vec![NamedEntry { name, entry }], false).await?))
}

/// Deletes an entry from a layer, or takes it away in a region.
#[utoipa::path(delete, path = "/v1/entries/{stack}/{environment}/{name}",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), DeleteQuery),
    responses(
        (status = 200, body = Written),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<DeleteQuery>,
) -> Result<axum::Json<Written>, Failure> {
    let layer = LayerKey { stack, environment, layer: Layer::from(query.region) };
    let which = Which { layer, name, grant: query.grant };
    let removal = Removal { hide_base: query.hide_base, expect_version: query.expect_version };
    Ok(axum::Json(app.vault()?.delete(&caller, which, removal).await?))
}

/// The versions of an entry in one layer, newest first.
#[utoipa::path(get, path = "/v1/entries/{stack}/{environment}/{name}/versions",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), LayerQuery),
    responses(
        (status = 200, body = EntryList),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn versions(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<LayerQuery>,
) -> Result<axum::Json<EntryList>, Failure> {
    let layer = LayerKey { stack, environment, layer: Layer::from(query.region) };
    Ok(axum::Json(app.vault()?.versions(&caller, layer, name).await?))
}

/// Destroys the values of all versions of an entry in one layer, or in all: for good.
#[utoipa::path(delete, path = "/v1/entries/{stack}/{environment}/{name}/versions",
    params(("stack" = StackName, Path), ("environment" = EnvironmentName, Path), ("name" = EntryName, Path), DestroyQuery),
    responses(
        (status = 200, body = Destroyed),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn destroy(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((stack, environment, name)): Path<(StackName, EnvironmentName, EntryName)>,
    Query(query): Query<DestroyQuery>,
) -> Result<axum::Json<Destroyed>, Failure> {
    let layer = (!query.all_layers).then(|| Layer::from(query.region));
    let what = Destruction { stack, environment, name, layer };
    Ok(axum::Json(app.vault()?.destroy(&caller, what).await?))
}
