//! `chandlery-entrypoint env -- command`: what `docker exec` and health checks get of the app's environment.

use std::time::Duration;

use chandlery_tests::docker::docker;
use chandlery_tests::{Output, Program};

use super::{Container, Ship};

const SHOW: &str = "echo \"$FLAG\"; env | grep -c CHANDLERY_";
/// `FLAG`, and no variable of ours.
const SHOWN: &str = "blue peter\n0\n";

impl Container {
    /// `docker exec` of a command through the entrypoint's `env`.
    fn beside(&self, options: &[&str], command: &[&str]) -> Output {
        docker(&[&["exec"], options, &[&self.0, "/chandlery-entrypoint", "env", "--"], command].concat()).output()
    }

    fn is_told(&self, options: &[&str], why: &str) {
        let output = self.beside(options, &["true"]);
        assert_eq!(output.code(), 7, "{output}");
        assert!(output.stderr.contains(why) && output.stderr.contains("hint: "), "{output}");
    }
}

#[test]
fn docker_exec_gets_the_app_s_environment() {
    let Some(ship) = Ship::launch("docker_exec_gets_the_app_s_environment") else { return };
    let tmpfs = ["--tmpfs", "/run/secrets:mode=0711"];
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534"];
    let nobody_s = ["--tmpfs", "/run/secrets:mode=0700,uid=65534"];
    for options in [
        &tmpfs[..],
        &[&tmpfs[..], &["--init"]].concat(),
        &[&tmpfs[..], &["-e", "CHANDLERY_USER=999"]].concat(),
        &[&tmpfs[..], &["--init", "-e", "CHANDLERY_USER=mysql"]].concat(),
        &[&tmpfs[..], &["-e", "CHANDLERY_WATCH=1"]].concat(),
        &[&tmpfs[..], &["--init", "-e", "CHANDLERY_WATCH=1", "-e", "CHANDLERY_USER=999"]].concat(),
        &[&hardened[..], &nobody_s].concat(),
        &[&hardened[..], &nobody_s, &["--init"]].concat(),
    ] {
        let container = ship.stay(options);
        // Without the entrypoint there is what Docker itself knows, and the token.
        assert_eq!(container.sh("echo \"$FLAG\"").text(), "\n", "{options:?}");
        let output = container.beside(&[], &["sh", "-c", SHOW]);
        assert_eq!(output.text(), SHOWN, "{options:?}: {output}");
        // The file's path is in it, and the search for the command is the app's.
        assert_eq!(container.beside(&[], &["no-such-command"]).code(), 127);
        assert_eq!(container.beside(&[], &["sh", "-c", "exit 41"]).code(), 41);
    }
}

#[test]
fn only_who_may_read_the_app_gets_it() {
    let Some(ship) = Ship::launch("only_who_may_read_the_app_gets_it") else { return };
    let container = ship.stay(&["--tmpfs", "/run/secrets:mode=0711", "-e", "CHANDLERY_USER=999:999"]);
    assert_eq!(container.beside(&["--user", "999:999"], &["sh", "-c", SHOW]).text(), SHOWN);
    container.is_told(&["--user", "65534"], "cannot be read by user 65534");
    // Another group is another identity to the kernel, too.
    container.is_told(&["--user", "999:0"], "cannot be read by user 999");
    // What runs beside the app is who was asked for, and not the app's user.
    assert_eq!(container.beside(&[], &["id", "-u"]).text(), "0\n");
}

#[test]
fn before_there_is_an_app_it_says_so() {
    let Some(ship) = Ship::launch("before_there_is_an_app_it_says_so") else { return };
    for init in [&[][..], &["--init"]] {
        let container = Container::new();
        let first = ["run", "-d", "--name", &container.0, "--entrypoint", "/chandlery-entrypoint"];
        let waiting = ["--tmpfs", "/run/secrets:mode=0700", "-e", "WAIT_HOSTS=127.0.0.1:9", "-e", "WAIT_TIMEOUT=300"];
        ship.docker(&first, &[&waiting[..], init].concat(), &["--", "echo", "started"]).ok();
        while container.sh("cat /run/secrets/FILE").code() != 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        container.is_told(&[], "the app does not run yet");
    }
}

#[test]
fn a_script_or_a_supervisor_in_front_is_passed_by() {
    let Some(ship) = Ship::launch("a_script_or_a_supervisor_in_front_is_passed_by") else { return };
    let container = Container::new();
    let first = ["run", "-d", "--name", &container.0, "--entrypoint", "/bin/sh"];
    let script = "/chandlery-entrypoint -- sh -c 'touch /tmp/up; sleep 300; true'; true";
    ship.docker(&first, &["--tmpfs", "/tmp", "--tmpfs", "/run/secrets:mode=0700"], &["-c", script]).ok();
    container.until_up();
    assert_eq!(container.beside(&[], &["sh", "-c", SHOW]).text(), SHOWN);
}

#[test]
fn a_health_check_sees_what_the_app_sees() {
    let Some(ship) = Ship::launch("a_health_check_sees_what_the_app_sees") else { return };
    let health = |check: &str| {
        let check = format!("--health-cmd={check}");
        let options = ["--tmpfs", "/run/secrets:mode=0700", &check, "--health-interval=200ms", "--health-retries=1"];
        let container = ship.stay(&options);
        loop {
            let status = docker(&["inspect", "--format", "{{.State.Health.Status}}", &container.0]).ok();
            match status.text().trim() {
                "starting" => std::thread::sleep(Duration::from_millis(100)),
                status => return status.to_owned(),
            }
        }
    };
    assert_eq!(health("/chandlery-entrypoint env -- sh -c 'test \"$FLAG\" = \"blue peter\"'"), "healthy");
    assert_eq!(health("test \"$FLAG\" = \"blue peter\""), "unhealthy");
}

#[test]
fn an_app_that_overwrites_its_environment_is_found_out() {
    let Some(ship) = Ship::launch("an_app_that_overwrites_its_environment_is_found_out") else { return };
    let container = Container::new();
    let first = ["run", "-d", "--name", &container.0, "--entrypoint", "/chandlery-entrypoint"];
    let common = ship.common();
    let common: Vec<&str> = common.iter().map(String::as_str).collect();
    let options = ["--tmpfs", "/run/secrets:mode=0700", &ship.images.redis];
    let command = ["--", "redis-server", "--port", "0", "--unixsocket", "/tmp/redis.sock"];
    docker(&[&first, &common[..], &options, &command].concat()).ok();
    while container.sh("redis-cli -s /tmp/redis.sock PING | grep PONG").code() != 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    container.is_told(&[], "has overwritten its environment");
}

#[test]
fn processes_of_others_are_not_taken_for_the_app() {
    let Some(ship) = Ship::launch("processes_of_others_are_not_taken_for_the_app") else { return };
    let container = ship.stay(&["--tmpfs", "/run/secrets:mode=0700", "--pid", "host"]);
    container.is_told(&[], "the processes here are the host's");
    // Here process 1 is another container's app, which this one can look at.
    let other = ship.stay(&["--tmpfs", "/run/secrets:mode=0700"]);
    let shared = format!("container:{}", other.0);
    let container = ship.stay(&["--tmpfs", "/run/secrets:mode=0700", "--pid", &shared]);
    container.is_told(&[], "is not of this container");
    // And here there is none.
    let binary = format!("{}:/chandlery-entrypoint:ro", Program::StaticEntrypoint.path().display());
    let alone = ["run", "--rm", "-v", &binary, "--entrypoint", "/chandlery-entrypoint", &ship.images.shell];
    let output = docker(&[&alone[..], &["env", "--", "true"]].concat()).output();
    assert_eq!(output.code(), 7, "{output}");
    assert!(output.stderr.contains("no app beside it"), "{output}");
}
