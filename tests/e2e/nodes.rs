//! A node stands for its region: the CLI registers it, the entrypoint names it, the server knows where it is.

use chandlery_tests::{Memory, Place, Run, Server};

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

fn start() -> Server {
    let server = Server::start();
    server.cli(&["init", "ship", "--services", "app", "--regions", "east,west"]).ok();
    for (region, port) in [("east", "1"), ("west", "2")] {
        server.cli(&["set", "PORT", "--plain", port, "--region", region]).ok();
    }
    server
}

fn on(server: &Server, token: &str, memory: &Memory, node: &str) -> Run {
    server.entrypoint(&PLACE, token, memory, &["--", "/bin/sh", "-c", "echo $PORT"]).env("CHANDLERY_NODE", node)
}

#[test]
fn each_node_starts_with_its_own_regions_environment() {
    let server = start();
    let memory = Memory::new();
    let token = server.bundle_token(&PLACE);
    let unknown = on(&server, &token, &memory, "vm-1").fails();
    assert_eq!(unknown.code(), 5);
    assert!(unknown.stderr.contains("there is no node named vm-1"), "{unknown}");
    assert!(unknown.stderr.contains("chandlery node add vm-1 --region REGION"), "{unknown}");

    server.cli(&["node", "add", "vm-1", "--region", "east"]).ok();
    let note = server.cli(&["node", "add", "VM-2.example", "vm-3", "--region", "mars"]).ok();
    assert!(note.stderr.contains("no environment that you see has a region mars"), "{note}");
    server.cli(&["node", "add", "VM-2.example", "--region", "west"]).ok();
    assert_eq!(on(&server, &token, &memory, "vm-1").ok().text(), "1\n");
    assert_eq!(on(&server, &token, &memory, "VM-2.example").ok().text(), "2\n");
    let lost = on(&server, &token, &memory, "vm-3").fails();
    assert!(lost.stderr.contains("vm-3 is in mars") && lost.stderr.contains("declared are east, west"), "{lost}");
    let list = server.cli(&["node", "list", "--format", "json"]).ok().json();
    assert_eq!(list["nodes"][0]["name"], "VM-2.example");
    assert_eq!(list["nodes"][1]["region"], "east");
    assert!(server.cli(&["node", "show", "vm-3"]).ok().text().contains("mars"));
    let usage = server.cli(&["node", "add", "vm-4"]).fails();
    assert_eq!(usage.code(), 2, "{usage}");
}

#[test]
fn a_token_of_a_node_starts_nothing_elsewhere() {
    let server = start();
    let memory = Memory::new();
    for (node, region) in [("vm-1", "east"), ("vm-2", "west")] {
        server.cli(&["node", "add", node, "--region", region]).ok();
    }
    let create = ["token", "create", "-d", "vm-1's", "--verb", "read-bundle", "--node", "vm-1", "--service", "app"];
    let token = server.cli(&create).ok().text().trim().to_owned();
    assert_eq!(on(&server, &token, &memory, "vm-1").ok().text(), "1\n");
    let refused = on(&server, &token, &memory, "vm-2").fails();
    assert_eq!(refused.code(), 4, "{refused}");
    let west = Place { region: Some("west"), ..PLACE };
    assert_eq!(server.entrypoint(&west, &token, &memory, &["--", "/bin/true"]).fails().code(), 4);
    server.cli(&["node", "add", "vm-1", "--region", "west"]).ok();
    assert_eq!(on(&server, &token, &memory, "vm-1").ok().text(), "2\n");
    let removed = server.cli(&["node", "rm", "vm-1"]).ok();
    assert!(removed.stderr.contains("revoked with it: tok_"), "{removed}");
    assert_eq!(on(&server, &token, &memory, "vm-1").fails().code(), 4);
}
