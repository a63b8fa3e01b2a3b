//! Under Swarm, whose `stack deploy` drops the short `tmpfs:` form without a word.

use std::time::Instant;

use chandlery_tests::docker::Swarm;
use serde_json::Value;

use super::*;

/// A stack that is deployed until it is dropped, with a secret of Swarm's own in it.
struct Stack {
    name: String,
    _swarm: Swarm,
}

impl Stack {
    /// Each service with what it has beyond what all need, and the script that is its app.
    fn deploy(ship: &Ship, services: &[(&str, Value, &str)]) -> Self {
        let stack = Self { _swarm: Swarm::alone(), name: format!("chandlery-test-{}", std::process::id()) };
        docker(&["secret", "create", &stack.name, "-"]).stdin("t").ok();
        let mut file = json!({
            "version": "3.8",
            "networks": { "outside": { "external": true, "name": "bridge" } },
            "secrets": { "theirs": { "external": true, "name": stack.name } },
        });
        for (name, more, script) in services {
            // In a compose file a dollar is written twice.
            let script = format!("{script}; echo end; sleep 60").replace('$', "$$");
            let mut service = json!({
                "image": ship.images.shell,
                "networks": ["outside"],
                "deploy": { "restart_policy": { "condition": "none" } },
                "entrypoint": ["/chandlery-entrypoint"],
                "command": ["--", "sh", "-c", script],
                "environment": ship.variables(),
                "volumes": ship.mounts(),
            });
            for (key, value) in more.as_object().expect("an object") {
                match service[key].as_array_mut() {
                    Some(list) => list.extend(value.as_array().expect("a list, too").iter().cloned()),
                    None => service[key] = value.clone(),
                }
            }
            file["services"][*name] = service;
        }
        // JSON is YAML.
        docker(&["stack", "deploy", "--resolve-image", "never", "-c", "-", &stack.name]).stdin(file.to_string()).ok();
        stack
    }

    /// What a service says until it says that it is done, or why it is not.
    fn logs(&self, service: &str) -> Output {
        let (name, begin) = (format!("{}_{service}", self.name), Instant::now());
        loop {
            let output = docker(&["service", "logs", "--raw", &name]).output();
            if output.text().ends_with("end\n") || output.stderr.contains("hint:") {
                return output;
            }
            assert!(begin.elapsed() < Duration::from_secs(90), "{service} says nothing: {output}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(docker(&["stack", "rm", &self.name]).output());
        // The secret is in use until the last task has gone.
        for _ in 0..100 {
            if docker(&["secret", "rm", &self.name]).output().code() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn a_stack_s_services_find_memory_or_a_line_that_helps() {
    let Some(ship) = Ship::launch("a_stack_s_services_find_memory_or_a_line_that_helps") else { return };
    let theirs = format!("{SHOW}; cat /run/secrets/theirs; echo");
    let elsewhere = "cat $FILE_PATH; echo; stat -f -c %T $FILE_PATH; id -u";
    let tmpfs = json!([{ "type": "tmpfs", "target": "/run/secrets" }]);
    let hardened = json!({ "secrets": ["theirs"], "read_only": true, "user": "999" });
    let mut helped = hardened.clone();
    helped["environment"] = json!(["CHANDLERY_SECRETS_DIR=/dev/shm/secrets"]);
    let stack = Stack::deploy(
        &ship,
        &[
            ("dropped", json!({ "tmpfs": ["/run/secrets:mode=0700"] }), SHOW),
            ("attached", json!({ "secrets": ["theirs"] }), &theirs),
            ("mounted", json!({ "volumes": tmpfs }), SHOW),
            ("other", json!({ "volumes": tmpfs, "user": "999" }), SHOW),
            ("hardened", hardened, SHOW),
            ("helped", helped, elsewhere),
        ],
    );
    assert_eq!(stack.logs("dropped").text(), "x\n700 0:0\n400 0:0\ntmpfs\nend\n");
    assert_eq!(stack.logs("attached").text(), "x\n755 0:0\n400 0:0\ntmpfs\nt\nend\n");
    assert_eq!(stack.logs("mounted").text(), "x\n700 0:0\n400 0:0\ntmpfs\nend\n");
    // Without the mode that Swarm drops, too: others cannot take away what is another's.
    assert_eq!(stack.logs("other").text(), "x\n1777 0:0\n400 999:999\ntmpfs\nend\n");
    assert_eq!(stack.logs("helped").text(), "x\ntmpfs\n999\nend\n");
    let refused = stack.logs("hardened");
    assert!(refused.text().is_empty(), "{refused}");
    let hint = "under Swarm, which drops that line, set CHANDLERY_SECRETS_DIR=/dev/shm/secrets instead";
    assert!(refused.stderr.contains("Read-only file system") && refused.stderr.contains(hint), "{refused}");
}
