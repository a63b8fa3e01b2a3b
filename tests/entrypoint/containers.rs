//! The shipped entrypoint in containers that allow it nothing: no root, no capability, no writable root, no network.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::{Place, Program, Server, StartOptions};
use serde_json::json;
use tempfile::TempDir;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };
const SHOW: &str = "id -u; cat /run/secrets/FILE; echo; echo $FLAG; env | grep -c CHANDLERY_";

/// `docker run` with the entrypoint, the server's socket and a token mounted; `options` come before the image.
fn run(server: &Server, images: &Images, options: &[&str], command: &[&str]) -> chandlery_tests::Output {
    let token = server.bundle_token(&PLACE);
    let socket = server.local().socket.clone().expect("the server has a socket");
    let folder = Path::new(&socket).parent().expect("the socket is in a folder").display().to_string();
    let binary = Program::StaticEntrypoint.path();
    let mounts = [format!("{}:/chandlery-entrypoint:ro", binary.display()), format!("{folder}:/run/chandlery:ro")];
    let variables = [
        "CHANDLERY_ADDR=unix:///run/chandlery/chandlery.sock".to_owned(),
        // For a test it may stand in the container's configuration; a real one is mounted.
        format!("CHANDLERY_TOKEN={token}"),
        "CHANDLERY_STACK=ship".to_owned(),
        "CHANDLERY_ENVIRONMENT=production".to_owned(),
        "CHANDLERY_SERVICE=app".to_owned(),
    ];
    let mut args = vec!["run", "--rm", "--network", "none", "--entrypoint", "/chandlery-entrypoint"];
    mounts.iter().for_each(|mount| args.extend(["-v", mount]));
    variables.iter().for_each(|variable| args.extend(["-e", variable]));
    args.extend(options);
    args.extend([images.shell.as_str(), "--"]);
    args.extend(command);
    docker(&args).output()
}

/// A server whose socket any user may connect to: each still needs a token.
fn ship(folder: &TempDir) -> Server {
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("an own folder");
    let socket = folder.path().join("chandlery.sock").display().to_string();
    let mut options = StartOptions::default();
    options.args.extend(["--socket".to_owned(), socket, "--socket-mode".to_owned(), "0666".to_owned()]);
    let server = Server::start_with(options);
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    api.ok("PUT", "/v1/entries/ship/production/FLAG", Some(&json!({ "value": "blue peter" })));
    api.ok("PUT", "/v1/entries/ship/production/FILE", Some(&json!({ "value": "x", "deliver": { "file": {} } })));
    server
}

#[test]
fn a_container_that_may_nothing_starts() {
    if !docker::available("a_container_that_may_nothing_starts") {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let (server, images) = (ship(&folder), Images::build());
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    for user in ["0", "65534"] {
        let tmpfs = format!("/run/secrets:mode=0700,size=1m,uid={user},gid={user}");
        let options = [&hardened[..], &["--user", user, "--tmpfs", &tmpfs]].concat();
        let output = run(&server, &images, &options, &["sh", "-c", SHOW]);
        // grep -c says 0, and ends with 1 because of it.
        assert_eq!(output.text(), format!("{user}\nx\nblue peter\n0\n"), "{output}");
    }
}

#[test]
fn a_secrets_directory_that_is_not_in_memory_is_refused_with_the_line_to_add() {
    if !docker::available("a_secrets_directory_that_is_not_in_memory_is_refused_with_the_line_to_add") {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let (server, images) = (ship(&folder), Images::build());
    let output = run(&server, &images, &[], &["echo", "started"]);
    assert_eq!(output.code(), 6, "{output}");
    assert!(output.stderr.contains("tmpfs") && output.stderr.contains("/run/secrets"), "{output}");
    assert!(output.stdout.is_empty(), "{output}");
}

#[test]
fn as_process_one_it_stops_at_once_while_it_waits() {
    if !docker::available("as_process_one_it_stops_at_once_while_it_waits") {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let (server, images) = (ship(&folder), Images::build());
    let name = format!("chandlery-test-{}-waits", std::process::id());
    let options = ["--name", &name, "--tmpfs", "/run/secrets:mode=0700", "-e", "WAIT_HOSTS=127.0.0.1:9"];
    let waiting = [&options[..], &["-e", "WAIT_TIMEOUT=300"]].concat();
    let output = std::thread::scope(|scope| {
        let container = scope.spawn(|| run(&server, &images, &waiting, &["echo", "started"]));
        while docker(&["exec", &name, "cat", "/run/secrets/FILE"]).output().code() != 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // With a handler it ends by the signal; without one docker kills it after ten seconds, which is 137.
        docker(&["stop", &name]).ok();
        container.join().expect("docker run ends")
    });
    assert_eq!(output.code(), 143, "{output}");
}
