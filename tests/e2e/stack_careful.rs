//! A compose file of careful people: nothing of what it says gets lost, under either compose.

use std::fs;

use chandlery_tests::docker::{self, Images, Tool, docker};
use chandlery_tests::{Canaries, Program, Server, StartOptions};

use crate::stack_compose::Down;

/// Users, file systems and capabilities as careful people have them, strings where lists are usual, and a health check that
/// needs a password: over TLS, for a user who is not root cannot use the socket of a server that runs as root.
#[test]
fn services_keep_their_user_their_words_and_their_health_check() {
    if !docker::available("services_keep_their_user_their_words_and_their_health_check") {
        return;
    }
    let _networks = docker::nobody_leaves_a_swarm();
    Tool::all().iter().for_each(keep_their_user_their_words_and_their_health_check);
}

fn keep_their_user_their_words_and_their_health_check(tool: &Tool) {
    let images = Images::build();
    let mut canaries = Canaries::new();
    let args = ["--listen".to_owned(), format!("{}:0", docker::bridge_address())].to_vec();
    let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
    let (file, variable) = (canaries.value("the file"), canaries.value("the variable"));
    fs::write(server.project().join("pw.txt"), format!("{file}\n")).expect("a file");
    fs::write(server.project().join("app.env"), format!("API_TOKEN='{variable}'\nLINES=\"a\nb\"\n")).expect("a file");
    fs::write(server.project().join("docker-compose.yml"), CAREFUL.replace("IMAGE", &images.shell)).expect("a file");
    let stack = |args: &[&str]| {
        let run = server.cli(&[&["stack"], args].concat()).env("CHANDLERY_STACK", "careful");
        let run = tool.to(run.env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path()));
        run.env("CHANDLERY_ENVIRONMENT", "production").env("XDG_STATE_HOME", server.project())
    };
    let project = format!("chandlery-careful-{}", std::process::id());
    let said = stack(&["import", "--yes"]).ok();
    assert!(said.stderr.contains("chandlery set DB_URL --for nobody"), "{said}");
    server
        .cli(&["set", "DB_URL", "-", "-s", "careful", "-e", "production", "--for", "nobody"])
        .stdin("postgres://db")
        .ok();
    let _down = Down(Some(stack(&["down", "-p", &project, "--timeout", "1"])));
    stack(&["up", "-p", &project, "--detach"]).ok();

    let container = |service: &str| {
        let label = format!("label=com.docker.compose.service={service}");
        let of_project = format!("label=com.docker.compose.project={project}");
        docker(&["ps", "--all", "--quiet", "--filter", &label, "--filter", &of_project]).ok().text().trim().to_owned()
    };
    let (nobody, words) = (container("nobody"), container("words"));
    docker::until("both have said what they have", || {
        docker::logs(&nobody).contains("end") && docker::logs(&words).contains("end")
    });
    let said = docker::logs(&nobody);
    canaries.assert_present("the file", said.as_bytes());
    assert!(said.contains("65534 a b|postgres://db|p$w|83|end"), "{}: {said}", tool.name);
    let said = docker::logs(&words);
    assert!(said.contains("zero o n e it's end"), "{said}");
    docker::until("the health check has the app's password", || {
        docker(&["inspect", "--format", "{{.State.Health.Status}}", &words]).output().text().trim() == "healthy"
    });
    for container in [&nobody, &words] {
        canaries.assert_absent("docker inspect", &docker(&["inspect", container]).ok().stdout);
    }
}

const CAREFUL: &str = r#"
version: '3.7'
x-env: &env
    SHARED: "a b"
    DB_URL: postgres://app:${DB_PASSWORD:?it comes from the store}@db/x
services:
    nobody:
        image: IMAGE
        user: nobody
        read_only: true
        cap_drop: [ALL]
        security_opt: [no-new-privileges:true]
        environment:
            <<: *env
            DOLLAR: 'p$$w'
            NUMBER: 0123
        secrets: [{source: pw, target: database}]
        command: sh -c 'cat /run/secrets/database; echo " $$(id -u) $$SHARED|$$DB_URL|$$DOLLAR|$$NUMBER|end"; sleep 600'
    words:
        image: IMAGE
        entrypoint: sh -c 'echo "$$0 $$1 it'"'"'s end"; exec sleep 600'
        command: [zero, o n e]
        env_file: [app.env]
        healthcheck:
            test: test -n "$$API_TOKEN" && test "$$LINES" = "$$(printf 'a\nb')"
            interval: 1s
    tool:
        image: nowhere/to-be-found
        profiles: [tools]
secrets:
    pw: {file: ./pw.txt}
"#;
