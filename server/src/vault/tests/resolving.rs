//! Every rule of resolving, end to end.

use chandlery_wire::{Code, Grant, Layer, Verb};

use super::{Fixture, entry_name, key, of, scope};
use crate::vault::{Removal, Which};

#[tokio::test]
async fn an_overlay_beats_the_base_and_only_in_its_region() {
    let it = Fixture::new().await;
    it.set("production", "TZ=UTC").await.unwrap();
    it.set("production/eu", "TZ=Europe/Dublin").await.unwrap();
    assert_eq!(it.value("production/eu", None, "TZ").await.unwrap(), "Europe/Dublin");
    assert_eq!(it.value("production/us", None, "TZ").await.unwrap(), "UTC");
    let bundle = it.bundle("production/eu", None).await.unwrap();
    assert_eq!(bundle.variables[0].origin.layer, Layer::Overlay(super::region("eu")));
}

#[tokio::test]
async fn a_region_that_was_not_declared_is_an_error_that_lists_the_declared_ones() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    for (layer, says) in
        [("production/mars", "declared are eu, us"), ("production", "declared are eu, us"), ("solo/eu", "it has none")]
    {
        let error = it.bundle(layer, None).await.unwrap_err();
        assert_eq!(error.code, Code::UnknownRegion, "{layer}");
        assert!(error.detail.contains(says), "{}", error.detail);
    }
    assert_eq!(it.set("production/mars", "A=1").await.unwrap_err().code, Code::UnknownRegion);
    it.set("solo", "A=1").await.unwrap();
    assert_eq!(it.value("solo", None, "A").await.unwrap(), "1");
}

#[tokio::test]
async fn environments_inherit_nothing_from_each_other() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    assert!(it.bundle("solo", None).await.unwrap().variables.is_empty());
}

#[tokio::test]
async fn a_value_for_the_service_by_name_beats_one_for_all() {
    let it = Fixture::new().await;
    it.set("solo", "POOL=5").await.unwrap();
    it.set("solo", "web:POOL=20").await.unwrap();
    assert_eq!(it.value("solo", Some("web"), "POOL").await.unwrap(), "20");
    assert_eq!(it.value("solo", Some("db"), "POOL").await.unwrap(), "5");
    assert_eq!(it.value("solo", None, "POOL").await.unwrap(), "5");
    let error = it.bundle("solo", Some("wbe")).await.unwrap_err();
    assert!(error.code == Code::NotFound && error.detail.contains("it has db, web"), "{}", error.detail);
}

#[tokio::test]
async fn an_overlay_may_remove_an_entry_for_its_region() {
    let it = Fixture::new().await;
    it.set("production", "DEBUG=1").await.unwrap();
    it.set("production", "URL~http://${DEBUG}").await.unwrap();
    let which = Which { layer: key("production/eu"), name: entry_name("DEBUG"), grant: None };
    let removal = Removal { hide_base: true, expect_version: None };
    let slip = it.vault.delete(&it.admin, which.clone(), Removal { hide_base: false, ..removal }).await.unwrap_err();
    assert!(slip.code == Code::NotFound && slip.hint.contains("--hide-base"), "{}", slip.hint);
    it.vault.delete(&it.admin, which.clone(), removal).await.unwrap();
    let error = it.bundle("production/eu", None).await.unwrap_err();
    assert!(error.faults[0].detail.contains("overlay removes"), "{error:?}");
    assert_eq!(it.value("production/us", None, "DEBUG").await.unwrap(), "1");
    // Deleting the removal uncovers the base again.
    it.vault.delete(&it.admin, which, Removal { hide_base: false, ..removal }).await.unwrap();
    assert_eq!(it.value("production/eu", None, "DEBUG").await.unwrap(), "1");
}

#[tokio::test]
async fn one_base_template_follows_each_regions_values() {
    let it = Fixture::new().await;
    it.set("production", "DB_HOST=db").await.unwrap();
    it.set("production", "PW=p$w").await.unwrap();
    it.set("production", "DATABASE_URL~mysql://root:${PW}@${DB_HOST}/x$${y}").await.unwrap();
    it.set("production/eu", "DB_HOST=db.eu").await.unwrap();
    assert_eq!(it.value("production/eu", None, "DATABASE_URL").await.unwrap(), "mysql://root:p$w@db.eu/x${y}");
    assert_eq!(it.value("production/us", None, "DATABASE_URL").await.unwrap(), "mysql://root:p$w@db/x${y}");
}

#[tokio::test]
async fn all_faults_come_in_one_answer_and_there_is_no_bundle() {
    let it = Fixture::new().await;
    for entry in ["A~${NOPE} ${EMPTY}", "EMPTY=", "B~${C}", "C~${B}", "db:PW=x", "D~${PW}"] {
        it.set("solo", entry).await.unwrap();
    }
    let error = it.bundle("solo", Some("web")).await.unwrap_err();
    let told: Vec<String> = error.faults.iter().map(|fault| format!("{} {}", fault.name, fault.detail)).collect();
    let told = told.join("\n");
    assert_eq!((error.code, error.faults.len()), (Code::Unresolvable, 4), "{told}");
    for part in ["A refers to NOPE", "A refers to EMPTY, which is empty", "B → C → B", "D refers to PW"] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[tokio::test]
async fn a_reference_into_another_environment_takes_the_same_region_and_the_right_to_read_there() {
    let it = Fixture::new().await;
    it.vault.declare_stack(&it.admin, super::stack("infra"), vec![]).await.unwrap();
    let regions = vec![super::region("eu")];
    it.vault.declare_environment(&it.admin, super::stack("infra"), super::environment("live"), regions).await.unwrap();
    let mut there = key("production");
    (there.stack, there.environment) = (super::stack("infra"), super::environment("live"));
    it.vault.write(&it.admin, there.clone(), vec![super::named("SMTP=mail")], false).await.unwrap();
    there.layer = Layer::Overlay(super::region("eu"));
    it.vault.write(&it.admin, there, vec![super::named("SMTP=mail.eu")], false).await.unwrap();
    it.set("production", "MAIL~smtp://${infra/live/SMTP}").await.unwrap();
    assert_eq!(it.value("production/eu", None, "MAIL").await.unwrap(), "smtp://mail.eu");
    assert_eq!(it.value("production/us", None, "MAIL").await.unwrap(), "smtp://mail");
    let narrow = it.token(&[Verb::ReadBundle], &[scope("production/eu")]).await;
    let error = it.bundle_as(&narrow, "production/eu", None).await.unwrap_err();
    assert!(error.faults[0].detail.contains("does not exist, or which this token may not read"), "{error:?}");
}

#[tokio::test]
async fn what_an_app_could_not_use_is_a_fault() {
    let it = Fixture::new().await;
    it.set("solo", "mysql_password@s3cret").await.unwrap();
    let mut entry = super::named("mysql_password@s3cret");
    entry.entry.deliver = Some(chandlery_wire::Delivery::File(chandlery_wire::FileAttributes {
        variable: Some("MYSQL_PASSWORD_FILE".parse().unwrap()),
        ..Default::default()
    }));
    it.vault.write(&it.admin, key("solo"), vec![entry], false).await.unwrap();
    it.set("solo", "MYSQL_PASSWORD=x").await.unwrap();
    let error = it.bundle("solo", None).await.unwrap_err();
    assert!(error.faults[0].detail.contains("both MYSQL_PASSWORD and MYSQL_PASSWORD_FILE"), "{error:?}");
}

#[tokio::test]
async fn a_bundle_is_the_same_until_something_of_it_changes() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let first = it.bundle("production/eu", None).await.unwrap();
    // Another environment's write does not concern it; nor does writing the same value again.
    it.set("solo", "A=1").await.unwrap();
    assert!(!it.set("production", "A=1").await.unwrap().entries[0].changed);
    let known = it.vault.bundle(&it.admin, of("production/eu", None), vec![first.revision]).await.unwrap();
    assert_eq!(known, (first.revision, None));
    it.set("production/us", "A=2").await.unwrap();
    assert_eq!(it.bundle("production/eu", None).await.unwrap(), first);
    it.set("production", "A=2").await.unwrap();
    let next = it.vault.bundle(&it.admin, of("production/eu", None), vec![first.revision]).await.unwrap();
    assert!(next.0 > first.revision && next.1.is_some());
}

#[tokio::test]
async fn explain_tells_the_winner_what_it_hid_and_what_its_template_used() {
    let it = Fixture::new().await;
    it.set("production", "PW=x").await.unwrap();
    it.set("production", "URL=old").await.unwrap();
    it.set("production/eu", "web:URL~${PW}${NO}").await.unwrap();
    let told = it.vault.explain(&it.admin, of("production/eu", Some("web")), entry_name("URL")).await.unwrap();
    assert_eq!(told.winner.layer.as_str(), "eu");
    assert_eq!(told.winner.grant, "web".parse::<Grant>().unwrap());
    assert_eq!(told.hidden[0].layer, Layer::Base);
    assert_eq!(told.references[0].target.as_ref().unwrap().name.as_str(), "PW");
    assert!(told.references[1].fault.is_some());
    assert!(told.winner.value.is_none() && told.references[0].target.as_ref().unwrap().value.is_none());
}
