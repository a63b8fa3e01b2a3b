//! The image of the team that started with docker-compose-wait, and this program in its place.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use chandlery_tests::Program;
use chandlery_tests::docker::{self, Images, docker};
use tempfile::TempDir;

/// A network of containers that goes when the test ends.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        let name = format!("chandlery-test-{}-{name}", std::process::id());
        docker(&["network", "create", &name]).ok();
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for container in ["db", "app"] {
            drop(docker(&["rm", "--force", "--volumes", &format!("{}-{container}", self.0)]).output());
        }
        drop(docker(&["network", "rm", &self.0]).output());
    }
}

#[test]
fn the_first_team_s_image_runs_unchanged_with_this_program_at_wait() {
    if !docker::available("the_first_team_s_image_runs_unchanged_with_this_program_at_wait") {
        return;
    }
    let images = Images::build();
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    fs::copy(Program::StaticEntrypoint.path(), file("wait")).expect("an own folder takes a file");
    fs::write(file("main"), "#!/bin/sh\necho started as $$\n").expect("an own folder takes a file");
    fs::set_permissions(file("main"), Permissions::from_mode(0o755)).expect("an own file");
    // The last lines of their Dockerfile, with a copy in the place of the download.
    let dockerfile =
        format!("FROM {}\nADD wait /wait\nRUN chmod +x /wait\nADD main /main\nCMD /wait && ./main\n", images.shell);
    fs::write(file("Dockerfile"), dockerfile).expect("an own folder takes a file");
    let network = Network::new("waits");
    let [image, db, app] = ["image", "db", "app"].map(|name| format!("{}-{name}", network.0));
    let context = folder.path().display().to_string();
    docker(&["build", "--quiet", "--tag", &image, &context]).env("DOCKER_BUILDKIT", "0").ok();
    let root = ["-e", "MYSQL_ROOT_PASSWORD=only for this test"];
    let member = |name: &str| {
        ["run".to_owned(), "--name".to_owned(), name.to_owned(), "--network".to_owned(), network.0.clone()]
    };
    let output = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let hosts = ["-e", "WAIT_HOSTS=db:3306", "-e", "WAIT_TIMEOUT=100"];
            docker(&[]).args(member(&app)).args(hosts).args([&image]).output()
        });
        docker(&[])
            .args(member(&db))
            .args(["--detach", "--network-alias", "db"])
            .args(root)
            .args([images.mariadb.as_str(), "docker-entrypoint.sh", "mariadbd"])
            .ok();
        waiting.join().expect("docker run ends")
    });
    drop(docker(&["rmi", "--force", &image]).output());
    assert_eq!(output.code(), 0, "{output}\n{}", docker::logs(&db));
    assert!(output.text().starts_with("started as "), "{output}");
    let lines =
        ["docker-compose-wait 2.12.1", "Host [db:3306] not yet available...", "Host [db:3306] is now available!"];
    for line in lines.into_iter().chain(["Everything's fine, the application can now start!"]) {
        assert!(output.stderr.contains(line), "{line}: {output}");
    }

    // As the first process it ends at once when it is told to, and does not wait for docker to kill it.
    let mount = format!("{}:/wait:ro", Program::StaticEntrypoint.path().display());
    drop(docker(&["rm", "--force", &app]).output());
    let first =
        ["--detach", "-v", &mount, "-e", "WAIT_HOSTS=127.0.0.1:9", "-e", "WAIT_TIMEOUT=300", "--entrypoint", "/wait"];
    docker(&[]).args(member(&app)).args(first).args([&images.shell]).ok();
    while !docker::logs(&app).contains("not yet available") {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    docker(&["stop", &app]).ok();
    let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &app]).ok();
    assert_eq!(code.text().trim(), "143");
}
