//! docs/AWS.md as a reader follows it.

use std::fs;

use chandlery_tests::aws::Account;
use chandlery_tests::page::{Page, Reader, Step};
use chandlery_tests::stacks::{folder, global_regions};
use chandlery_tests::workspace;

#[test]
fn every_command_on_the_page_works() {
    let page = Page::read("docs/AWS.md");
    let rules = page.blocks().iter().find_map(|block| match &block.step {
        Step::Write { name, text } if name == "server.toml" => Some(text.as_str()),
        _ => None,
    });
    // The page's own configuration is that of the server.
    let rules = rules.expect("the page has the server's configuration");
    let Some(account) = Account::start_with("every_command_on_the_page_works", rules) else { return };
    for region in global_regions() {
        let text = fs::read_to_string(folder("global").join(format!("{region}.env"))).expect("the region's file");
        let place = if region == "eu-west-1" { "eu-west-1" } else { "us-east-1" };
        account.moto.client(place).create(&format!("chuspace-app/prod-env/{region}"), &text);
    }
    page.follow(&Reader::of(&account.server));
    for region in global_regions() {
        let file = folder("global").join(format!("{region}.env"));
        account.ends(&["diff", file.to_str().expect("a path"), &region], 0);
    }
    let text = fs::read_to_string(workspace().join("docs/AWS.md")).expect("the page is there");
    let policies: Vec<&str> = text.split("\n```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert_eq!(policies.len(), 2);
    for policy in policies {
        serde_json::from_str::<serde_json::Value>(policy).expect("a policy is JSON");
    }
}
