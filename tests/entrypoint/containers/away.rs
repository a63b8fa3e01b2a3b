//! The copy for when the server is away, as a container keeps it: on a volume.

use chandlery_tests::docker::docker;

use super::{Container, Ship};

/// A volume that goes when it is dropped.
struct Volume(String);

impl Volume {
    fn new() -> Self {
        let volume = Self(Container::new().0.clone());
        docker(&["volume", "create", &volume.0]).ok();
        volume
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(docker(&["volume", "rm", "-f", &self.0]).output());
    }
}

#[test]
fn a_container_that_may_nothing_but_write_its_volume_starts_without_the_server() {
    let name = "a_container_that_may_nothing_but_write_its_volume_starts_without_the_server";
    let Some(mut ship) = Ship::launch(name) else { return };
    let volume = Volume::new();
    let mount = format!("{}:/copies", volume.0);
    let options = [
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--tmpfs",
        "/run/secrets:mode=0700",
        "-v",
        &mount,
        "-e",
        "CHANDLERY_CACHE=/copies",
        "-e",
        "CHANDLERY_TIMEOUT=1s",
    ];
    let script = "echo $FLAG; cat /run/secrets/FILE; stat -c ' %a' /copies /copies/*; env | grep -c CHANDLERY_";
    let first = ship.run(&options, &["sh", "-c", script]);
    assert_eq!(first.text(), "blue peter\nx 700\n 600\n0\n", "{first}");
    assert!(first.stderr.is_empty(), "{first}");
    ship.server.stop();
    let alone = ship.run(&options, &["sh", "-c", script]);
    assert_eq!(alone.text(), first.text(), "{alone}");
    assert!(alone.stderr.contains("starting with the copy of"), "{alone}");

    // A volume of root's, for a user who may not write there: told, and no reason not to start.
    ship.server.restart();
    let fresh = Volume::new();
    let mount = format!("{}:/copies", fresh.0);
    let nobody = ["--user", "65534", "--tmpfs", "/run/secrets:mode=0700,uid=65534", "-v", &mount];
    let options = [&nobody[..], &["-e", "CHANDLERY_CACHE=/copies"]].concat();
    let output = ship.run(&options, &["sh", "-c", "echo $FLAG"]);
    assert_eq!(output.text(), "blue peter\n", "{output}");
    assert!(output.stderr.contains("belongs to user 0 and not to 65534"), "{output}");
}

#[test]
fn a_revoked_token_s_copy_is_gone_for_good() {
    let Some(mut ship) = Ship::launch("a_revoked_token_s_copy_is_gone_for_good") else { return };
    let volume = Volume::new();
    let mount = format!("{}:/copies", volume.0);
    let options = ["--tmpfs", "/run/secrets:mode=0700", "-v", &mount, "-e", "CHANDLERY_CACHE=/copies"];
    let options = [&options[..], &["-e", "CHANDLERY_TIMEOUT=1s"]].concat();
    assert_eq!(ship.run(&options, &["sh", "-c", "ls /copies | wc -l"]).text().trim(), "1");
    let api = ship.server.api();
    let tokens = api.ok("GET", "/v1/tokens", None);
    let list = tokens.as_array().or_else(|| tokens["tokens"].as_array()).expect("a list of tokens").clone();
    for token in list.iter().filter(|token| token["description"] == "a test's") {
        api.ok("DELETE", &format!("/v1/tokens/{}", token["id"].as_str().expect("an id")), None);
    }
    let refused = ship.run(&options, &["echo", "started"]);
    assert_eq!(refused.code(), 4, "{refused}");
    assert!(refused.stderr.contains("is deleted") && refused.stdout.is_empty(), "{refused}");
    ship.server.stop();
    let alone = ship.run(&options, &["echo", "started"]);
    assert_eq!(alone.code(), 3, "{alone}");
    assert!(alone.stdout.is_empty(), "{alone}");
}
