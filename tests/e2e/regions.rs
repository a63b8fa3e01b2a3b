//! Seven regions of a Rails application, each with a full copy of everything: sixty variables, four of them its own.

use std::collections::BTreeMap;
use std::fs;

use chandlery_tests::stacks::{folder, global_regions};
use chandlery_tests::{Memory, Place, Run, Server};

fn cli(server: &Server, args: &[&str]) -> Run {
    server.cli(args).env("CHANDLERY_STACK", "chuspace").env("CHANDLERY_ENVIRONMENT", "production")
}

/// What the region's file means, as the file's author has it.
fn meant(region: &str) -> BTreeMap<String, String> {
    let json = fs::read(folder("global").join(format!("{region}.json"))).expect("the region's meaning is there");
    serde_json::from_slice(&json).expect("the region's meaning is JSON")
}

fn served(server: &Server, place: &Place<'_>) -> BTreeMap<String, String> {
    let bundle = server.api().ok("GET", &place.bundle(), None);
    let variables = bundle["variables"].as_array().expect("a bundle has variables");
    let text = |value: &serde_json::Value| value.as_str().expect("these values are text").to_owned();
    variables.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

fn place(region: &str) -> Place<'_> {
    Place { stack: "chuspace", environment: "production", region: Some(region), service: "web" }
}

/// One region's file is the base; every region's file is its overlay.
fn import(server: &Server) -> Vec<String> {
    let regions = global_regions();
    assert_eq!(regions.len(), 7);
    let file = |region: &str| folder("global").join(format!("{region}.env")).to_str().expect("a plain path").to_owned();
    let list = regions.join(",");
    server.cli(&["init", "chuspace", "--environment", "production", "--regions", &list, "--services", "web"]).ok();
    cli(server, &["import", &file(&regions[0])]).ok();
    for region in &regions {
        cli(server, &["import", &file(region), "--region", region]).ok();
    }
    regions
}

#[test]
fn each_region_gets_exactly_its_own_values_back() {
    let server = Server::start();
    for region in import(&server) {
        let (meant, served) = (meant(&region), served(&server, &place(&region)));
        assert_eq!(meant.len(), 60);
        for (name, value) in &meant {
            assert_eq!(served.get(name), Some(value), "{name} in {region}");
        }
        assert_eq!(meant.len(), served.len(), "{region} gets nothing else");
    }
}

#[test]
fn the_app_in_each_region_finds_them_in_its_environment() {
    let server = Server::start();
    for region in import(&server) {
        let place = place(&region);
        let token = server.bundle_token(&place);
        let args = ["--", "cat", "/proc/self/environ"];
        let environment = server.entrypoint(&place, &token, &Memory::new(), &args).ok().environment();
        for (name, value) in meant(&region) {
            assert_eq!(environment.get(&name), Some(&value), "{name} in {region}");
        }
    }
}

#[test]
fn a_base_and_four_variables_a_region_are_the_same_as_seven_copies() {
    let server = Server::start();
    let regions = global_regions();
    let list = regions.join(",");
    server.cli(&["init", "chuspace", "--environment", "production", "--regions", &list, "--services", "web"]).ok();
    let common = folder("global").join(format!("{}.env", regions[0]));
    cli(&server, &["import", common.to_str().expect("a plain path")]).ok();
    let base = meant(&regions[0]);
    for region in &regions {
        for (name, value) in meant(region).iter().filter(|(name, value)| base.get(*name) != Some(value)) {
            cli(&server, &["set", name, "-", "--region", region]).stdin(value.as_bytes()).ok();
        }
    }
    for region in &regions {
        assert_eq!(served(&server, &place(region)), meant(region), "{region}");
    }
}
