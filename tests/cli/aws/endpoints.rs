//! Where AWS is asked: the variables and files of AWS's own tools say so, and their order is AWS's.

use std::fs;
use std::path::Path;

use chandlery_tests::aws::{Account, Fault, Moto, Proxy};
use serde_json::json;

const RULES: &str = "[source.aws]\ntimeout = \"400ms\"\nattempts = 1\n[[source.aws.read]]\nsecrets = [\"app/*\"]\n";

/// A port of loopback where nobody listens: whoever asks there fails.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A server whose endpoint is said by `config` and `variables`, in which `{here}` stands for where AWS is.
fn account(test: &str, config: &str, variables: &[(&str, &str)]) -> Option<Account> {
    let environment = |proxy: &Proxy, folder: &Path| {
        let here = format!("http://127.0.0.1:{}", proxy.port());
        let file = folder.join("config");
        fs::write(&file, config.replace("{here}", &here).replace("{nowhere}", NOWHERE)).expect("a file");
        let mut env = Moto::environment(proxy.port());
        env.retain(|(name, _)| !name.starts_with("AWS_ENDPOINT"));
        env.push(("AWS_CONFIG_FILE".to_owned(), file.display().to_string()));
        let said = |&(name, value): &(&str, &str)| (name.to_owned(), value.replace("{here}", &here));
        env.extend(variables.iter().map(said));
        env
    };
    let account = Account::start_in(test, RULES, environment)?;
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "x=y");
    Some(account)
}

const SERVICES: &str = "[default]\nservices = mine\nendpoint_url = {nowhere}\n\n[services mine]\nsecrets_manager =\n  endpoint_url = {here}\ns3 =\n  endpoint_url = {nowhere}\n";

#[test]
fn what_is_said_for_secrets_manager_beats_what_is_said_for_all_and_variables_beat_files() {
    let test = "what_is_said_for_secrets_manager_beats_what_is_said_for_all_and_variables_beat_files";
    let away = SERVICES.replace("{here}", NOWHERE);
    let named = SERVICES.replace("[default]", "[profile team]");
    for (config, variables) in [
        ("[default]\nendpoint_url = {here}\n", &[][..]),
        (SERVICES, &[]),
        (&named, &[("AWS_PROFILE", "team")]),
        (&away, &[("AWS_ENDPOINT_URL", "{here}")]),
        (&away, &[("AWS_ENDPOINT_URL", NOWHERE), ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "{here}")]),
    ] {
        let Some(account) = account(test, config, variables) else { return };
        account.cli(&["set", "A", "--from", "aws:us-east-1:app/env"]).ok();
        assert_eq!(account.bundle(None), json!({ "A": "x=y" }), "{config} {variables:?}");
        assert!(account.proxy.all_calls() > 0);
    }
}

#[test]
fn an_endpoint_that_is_none_is_said_to_be() {
    let test = "an_endpoint_that_is_none_is_said_to_be";
    for variable in ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"] {
        let Some(account) = account(test, "", &[(variable, "not an address")]) else { return };
        let failed = account.cli(&["set", "A", "--from", "aws:test-nowhere-1:app/env"]).fails();
        assert!(failed.stderr.contains("AWS_ENDPOINT_URL"), "{variable}: {failed}");
        assert_eq!(account.proxy.all_calls(), 0);
    }
}

#[test]
fn a_role_of_the_profile_is_asked_for_at_the_endpoint_and_what_is_missing_for_it_is_named() {
    let test = "a_role_of_the_profile_is_asked_for_at_the_endpoint_and_what_is_missing_for_it_is_named";
    let config = "[default]\nrole_arn = arn:aws:iam::123456789012:role/chandlery\nsource_profile = keys\nregion = us-east-1\n\
        [profile keys]\naws_access_key_id = testing\naws_secret_access_key = testing\n";
    // Of the environment's keys there are none: empty, they count as not said.
    let variables = [("AWS_ENDPOINT_URL", "{here}"), ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let Some(account) = account(test, config, &variables) else { return };
    let sentence = "User: arn:aws:iam::123456789012:user/keys is not authorized to perform: sts:AssumeRole";
    account.proxy.play_about("", "Action=AssumeRole", Fault::Code("AccessDenied", sentence), None);
    let denied = account.ends(&["set", "A", "--from", "aws:us-east-1:app/env"], 3);
    for part in ["credentials cannot be used", "sts:AssumeRole", "app/env", "us-east-1", "try again"] {
        assert!(denied.stderr.contains(part), "{part}: {denied}");
    }
    assert_eq!(account.proxy.calls("GetSecretValue"), 0);
    account.proxy.heal();
    account.cli(&["set", "A", "--from", "aws:us-east-1:app/env"]).ok();
    assert_eq!(account.bundle(None), json!({ "A": "x=y" }));
}
