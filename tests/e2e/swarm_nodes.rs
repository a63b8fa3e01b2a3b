//! One Swarm service, two nodes, two regions: each task has its own region's environment, and scaling and a rolling update
//! keep it that way.

use std::fs;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::{Output, Place, Program, Run, SecondHost, Server, StartOptions};
use serde_json::Value;

const SECOND: &str = "chandlery-vm-2";
const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

/// Two dockers in one swarm, which only one test at a time has.
struct Swarm {
    second: SecondHost,
    /// What Swarm calls this host.
    first: String,
}

impl Swarm {
    fn new() -> Self {
        let second = SecondHost::start(SECOND);
        let first = docker(&["info", "--format", "{{.Name}}"]).ok().text().trim().to_owned();
        let swarm = Self { second, first };
        docker(&["swarm", "init", "--advertise-addr", "10.213.77.1", "--listen-addr", "10.213.77.1:2377"]).ok();
        let token = docker(&["swarm", "join-token", "-q", "worker"]).ok().text().trim().to_owned();
        swarm.second.docker(&["swarm", "join", "--token", &token, "10.213.77.1:2377"]).ok();
        swarm
    }

    /// What the tasks that run on each node have printed.
    fn said(&self, label: &str) -> [Vec<String>; 2] {
        let on = |run: &dyn Fn(&[&str]) -> Run| {
            let filter = format!("label=com.docker.swarm.service.name={label}");
            let ids = run(&["ps", "-q", "--filter", &filter]).ok();
            let ids: Vec<String> = ids.text().split_whitespace().map(str::to_owned).collect();
            ids.iter().map(|id| run(&["logs", id]).output().text().trim().to_owned()).collect::<Vec<_>>()
        };
        [on(&|args| docker(args)), on(&|args| self.second.docker(args))]
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        drop(self.second.docker(&["swarm", "leave", "--force"]).output());
        drop(docker(&["swarm", "leave", "--force"]).output());
    }
}

/// The stack, while it is deployed.
struct Deployed(String);

impl Drop for Deployed {
    fn drop(&mut self) {
        drop(docker(&["stack", "rm", &self.0]).output());
        docker::until("the stack's tasks are gone", || {
            let filter = format!("label=com.docker.stack.namespace={}", self.0);
            docker(&["ps", "-aq", "--filter", &filter]).output().text().is_empty()
        });
    }
}

fn stack_file(server: &Server, images: &Images, token: &str) -> String {
    let entrypoint = Program::StaticEntrypoint.path();
    format!(
        "version: '3.8'
services:
  app:
    image: {image}
    entrypoint: [/chandlery-entrypoint, --]
    command: [/bin/busybox, sh, -c, 'echo got $$PLACE $$ROUND; exec /bin/busybox sleep 600']
    environment:
      CHANDLERY_ADDR: {address}
      CHANDLERY_FINGERPRINT: {fingerprint}
      CHANDLERY_NODE: '{{{{.Node.Hostname}}}}'
      CHANDLERY_STACK: ship
      CHANDLERY_ENVIRONMENT: production
      CHANDLERY_SERVICE: app
    secrets: [chandlery_token]
    networks: [outside]
    volumes: ['{entrypoint}:/chandlery-entrypoint:ro']
    stop_grace_period: 1s
    deploy:
      replicas: 2
      endpoint_mode: dnsrr
      placement: {{max_replicas_per_node: 1}}
      restart_policy: {{delay: 1s}}
networks:
  outside: {{external: true, name: host}}
secrets:
  chandlery_token: {{file: {token}}}
",
        image = images.shell,
        address = server.local().address,
        fingerprint = server.local().ca_fingerprint,
        entrypoint = entrypoint.display(),
    )
}

#[test]
fn one_service_has_on_each_node_the_environment_of_its_region() {
    let name = "one_service_has_on_each_node_the_environment_of_its_region";
    if !SecondHost::available(name) {
        return;
    }
    let images = Images::build();
    let swarm = Swarm::new();
    swarm.second.load(&images.shell);

    let args = ["--listen".to_owned(), "10.213.77.1:0".to_owned()].to_vec();
    let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
    server.cli(&["init", "ship", "--services", "app", "--regions", "east,west"]).ok();
    for region in ["east", "west"] {
        server.cli(&["set", "PLACE", "--plain", region, "--region", region]).ok();
    }
    for (node, region) in [(swarm.first.as_str(), "east"), (SECOND, "west")] {
        server.cli(&["node", "add", node, "--region", region]).ok();
    }
    let token = swarm.second.folder().join("token");
    fs::write(&token, server.bundle_token(&PLACE)).expect("a folder takes a file");
    let file = swarm.second.folder().join("stack.yml");
    fs::write(&file, stack_file(&server, &images, token.to_str().expect("a plain path")))
        .expect("a folder takes a file");

    let stack = format!("chandlery{}", std::process::id());
    let deployed = Deployed(stack.clone());
    docker(&["stack", "deploy", "-c", file.to_str().expect("a plain path"), &stack]).ok();
    let service = format!("{stack}_app");
    let settles = |tasks: usize, said: [&str; 2]| {
        let expected = said.map(|said| vec![said.to_owned(); tasks]);
        docker::until(&format!("both nodes say {expected:?}; seen {:?}", tasks_of(&service)), || {
            swarm.said(&service) == expected
        });
    };
    settles(1, ["got east", "got west"]);
    // More of them, then others in their place.
    docker(&["service", "update", "-d", "--replicas", "4", "--replicas-max-per-node", "2", &service]).ok();
    settles(2, ["got east", "got west"]);
    docker(&["service", "update", "-d", "--update-parallelism", "2", "--env-add", "ROUND=2", &service]).ok();
    settles(2, ["got east 2", "got west 2"]);
    let env = docker(&["service", "inspect", &service]).ok().json();
    assert!(!env.to_string().contains("CHANDLERY_REGION"));

    // A node that nobody knows starts nothing, and says why; the other node's tasks run on.
    server.cli(&["node", "rm", SECOND]).ok();
    docker(&["service", "update", "-d", "--env-add", "ROUND=3", &service]).ok();
    docker::until("a task fails on the node that is not registered", || {
        tasks_of(&service)
            .iter()
            .any(|task| task["Node"] == SECOND && task["Error"].as_str().is_some_and(|e| e.contains('5')))
    });
    let logs = docker(&["service", "logs", "--raw", &service]).output();
    let said = format!("{}{}", String::from_utf8_lossy(&logs.stdout), logs.stderr);
    assert!(said.contains(&format!("there is no node named {SECOND}")), "{said}");
    assert!(said.contains(&format!("chandlery node add {SECOND} --region REGION")), "{said}");
    drop(deployed);
}

/// What Swarm says of the service's tasks, past ones too.
fn tasks_of(service: &str) -> Vec<Value> {
    let output: Output = docker(&["service", "ps", "--no-trunc", "--format", "{{json .}}", service]).output();
    output.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
