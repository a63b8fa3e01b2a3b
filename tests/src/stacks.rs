//! The sample stacks below `tests/stacks`, and how a user gets them into a server.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Canaries, Place, Run, Server};

pub const EUROPE: &str = "eu-west-1";
pub const ASIA: &str = "ap-southeast-1";

/// The folder of one sample stack.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stacks").join(name)
}

/// A copy of the folder of a sample stack, for a test that works in it.
///
/// # Panics
/// If it cannot be made.
pub fn copy(name: &str, to: &Path) {
    copy_folder(&folder(name), to);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let entry = entry.expect("a folder can be listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// SimpleApp's service in a region.
#[must_use]
pub fn simpleapp<'a>(region: &'a str, service: &'a str) -> Place<'a> {
    Place { stack: "simpleapp", environment: "production", region: Some(region), service }
}

/// The CLI where SimpleApp's production is the context.
#[must_use]
pub fn simpleapp_cli(server: &Server, args: &[&str]) -> Run {
    server.cli(args).env("CHANDLERY_STACK", "simpleapp").env("CHANDLERY_ENVIRONMENT", "production")
}

/// Puts SimpleApp into the server as the README does, but with a password for each region that only this run knows.
///
/// # Panics
/// If a step of it fails.
pub fn import_simpleapp(server: &Server, canaries: &mut Canaries) {
    let file = |name: &str| folder("simpleapp").join(name).to_str().expect("the path is text").to_owned();
    let run = |run: Run| server.hear(&run.ok());
    let regions = format!("{EUROPE},{ASIA}");
    let services = "app,db,cache";
    run(server.cli(&[
        "init",
        "simpleapp",
        "--environment",
        "production",
        "--regions",
        &regions,
        "--services",
        services,
    ]));
    run(simpleapp_cli(server, &["import", &file("devsecrets")]));
    run(simpleapp_cli(server, &["import", &file("base.env")]));
    for region in [EUROPE, ASIA] {
        run(simpleapp_cli(server, &["import", &file(&format!("{region}.env")), "--region", region]));
        for name in ["mysql_password", "redis_password"] {
            let value = canaries.value(&format!("{name} in {region}"));
            run(simpleapp_cli(server, &["set", name, "-", "--region", region]).stdin(value));
        }
    }
    let template = |name: &str| format!("@{}", file(name));
    let (url, conf) = (template("database_url.template"), template("redis.conf.template"));
    run(simpleapp_cli(server, &["set", "DATABASE_URL", &url, "--template", "--for", "app"]));
    run(simpleapp_cli(server, &["set", "redis.conf", &conf, "--template", "--file", "--for", "cache"]));
}

/// The regions of the Rails application.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
pub fn global_regions() -> Vec<String> {
    let files = fs::read_dir(folder("global")).expect("the folder is there");
    let names =
        files.map(|file| file.expect("a folder can be listed").file_name().into_string().expect("a plain name"));
    let mut regions: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".env")?.to_owned())).collect();
    regions.sort();
    regions
}
