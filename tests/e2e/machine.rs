//! What `docs/SYSTEMD.md` says, done on a machine with a real systemd and a Docker of its own: each unit gets its values and
//! nobody else does, stops and restarts as it should, and comes back after a reboot and after a power cut.

use chandlery_tests::docker::Images;
use chandlery_tests::machine::Machine;
use chandlery_tests::page::Page;
use chandlery_tests::{Canaries, Output};

/// Stands for Python and for the team's programs: shows what it has, and waits to be told to end.
const APP: &str = r#"#!/bin/sh
name=${2:-app}
trap 'echo "$name ends"; exit 0' TERM
echo "$name has $PASSWORD in $PLACE, $(cat "${FILES:-/run/secrets}/key") and $(env | grep -c ^CHANDLERY_)"
while :; do sleep 0.2; done
"#;

struct Host {
    machine: Machine,
    canaries: Canaries,
    page: Page,
}

impl Host {
    /// A machine with an image of the team's, and an app of its own.
    fn new(test: &str) -> Option<Self> {
        let machine = Machine::boot(test, "units")?;
        let images = Images::build();
        machine.load(&images.shell, "shell");
        machine.write("/root/image/python3", APP);
        machine.write(
            "/root/image/Dockerfile",
            "FROM shell\nCOPY python3 /usr/local/bin/\nRUN chmod 755 /usr/local/bin/python3\nCMD [\"python3\"]\n",
        );
        machine.write("/usr/bin/app", APP);
        machine
            .ok("chmod 755 /usr/bin/app; docker build --quiet --network none -t qwaya/app-backend:latest /root/image
             docker tag qwaya/app-backend vendor/app");
        Some(Self { machine, canaries: Canaries::new(), page: Page::read("docs/SYSTEMD.md") })
    }

    fn follow(&self, section: &str) {
        follow(&self.machine, &self.page, section);
    }

    /// A secret variable, a secret file and a plain variable of a stack.
    fn fill(&mut self, stack: &str, services: &str) {
        let (password, key) = (self.canaries.value(&format!("{stack}'s password")), self.canaries.value("key"));
        let flags = format!("-s {stack} -e production");
        let script = format!(
            "cd /root; chandlery init {stack} --services {services} --regions east,west >/dev/null 2>&1
             read -r password; read -r key
             printf %s \"$password\" | chandlery set PASSWORD - {flags}
             printf %s \"$key\" | chandlery set key - --file {flags}
             chandlery set PLACE --plain sea {flags}
             chandlery set PLACE --plain port {flags} --region east"
        );
        self.machine.run(&script).stdin(format!("{password}\n{key}\n")).ok();
    }

    /// What a unit has printed since its last start.
    fn printed(&self, unit: &str) -> String {
        self.machine.ok(&format!("journalctl --sync; {}", journal(unit)))
    }

    /// Waits until the unit's app has said what it has: the stack's values, and no variable of ours.
    fn has_its_values(&self, unit: &str, stack: &str) {
        self.machine.until(&format!("{} | grep ' has '", journal(unit)));
        let printed = self.printed(unit);
        self.canaries.assert_present(&format!("{stack}'s password"), printed.as_bytes());
        assert!(printed.contains(" in port, cnry-") && printed.contains(" and 0"), "{unit}: {printed}");
    }

    /// A script whose output must hold no value, and no token.
    fn shows_no_value(&self, what: &str, script: &str) -> Output {
        let output = self.machine.run(script).ok();
        self.canaries.assert_absent(what, &output.stdout);
        assert!(!output.text().contains("chd_"), "{what} holds a token");
        output
    }
}

#[test]
fn a_machine_runs_the_units() {
    let Some(mut host) = Host::new("a_machine_runs_the_units") else { return };
    the_server_starts_reloads_and_keeps_its_key_elsewhere(&host);
    host.fill("shop", "app,sealed");
    host.fill("pods", "backend,worker");
    containers_can_reach_it(&host.machine, "CHANDLERY_REGION=east");
    a_program_of_the_hosts_gets_its_values(&host);
    a_credential_can_be_kept_from_the_app(&host);
    a_container_without_a_credential_gets_its_values(&host);
    three_containers_with_a_token_get_theirs(&host);
    an_image_as_it_is_gets_variables(&host);
    everything_comes_back(&host);
}

/// The command for what a unit has printed since its last start.
fn journal(unit: &str) -> String {
    let invocation = format!("$(systemctl show {unit} --property InvocationID --value)");
    format!("journalctl --quiet --no-pager --output cat --unit {unit} _SYSTEMD_INVOCATION_ID={invocation}")
}

/// Does what a page says under a heading.
pub(crate) fn follow(machine: &Machine, page: &Page, section: &str) {
    let blocks: Vec<_> = page.blocks().iter().filter(|block| block.section == section).collect();
    assert!(!blocks.is_empty(), "nothing is to be done under {section}");
    for block in blocks {
        machine.does(block);
    }
}

fn the_server_starts_reloads_and_keeps_its_key_elsewhere(host: &Host) {
    let machine = &host.machine;
    host.follow("The server");
    let status = "systemctl show chandlery-server --property StatusText --value";
    machine.until(&format!("{status} | grep '^serving on https://127.0.0.1:8420$'"));
    let pid = machine.ok("systemctl show chandlery-server --property MainPID --value");
    machine.ok("systemctl reload chandlery-server");
    machine.ok("journalctl --no-pager --unit chandlery-server | grep 'new connections get the new certificate'");
    assert_eq!(machine.ok("systemctl show chandlery-server --property MainPID --value"), pid);
    // The key, and where it is: with root, and in the memory of one unit.
    machine.ok("key=$(cut -d: -f2 /etc/chandlery/root.key); [ ${#key} = 44 ]
        if grep --recursive --quiet --fixed-strings \"$key\" /var/lib/chandlery /run/chandlery; then exit 1; fi
        grep --quiet --fixed-strings \"$key\" /run/credentials/chandlery-server.service/root.key
        [ \"$(stat -c '%a %U' /etc/chandlery/root.key)\" = '600 root' ]");
    // Whoever is neither root nor the server sees none of it.
    machine
        .run(
            "setpriv --reuid 65534 --regid 65534 --clear-groups cat /run/credentials/chandlery-server.service/root.key",
        )
        .fails();
    // Without its key it does not say that it is ready; with the key, the next try is good.
    machine.ok("systemctl stop chandlery-server; mv /etc/chandlery/root.key /root/root.key");
    assert_ne!(machine.run("timeout 60 systemctl start chandlery-server").output().code(), 0);
    machine.ok("mv /root/root.key /etc/chandlery/root.key");
    machine.until("systemctl is-active chandlery-server");
    let sealed = "chandlery-root-key-v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    machine.ok(&format!(
        "systemctl stop chandlery-server; cp -p /etc/chandlery/root.key /root/; echo '{sealed}' >/etc/chandlery/root.key
         systemctl start --no-block chandlery-server"
    ));
    machine.until(&format!("{status} | grep sealed"));
    assert_eq!(machine.run("systemctl is-active chandlery-server").output().text().trim(), "activating");
    machine.ok("mv /root/root.key /etc/chandlery/root.key; systemctl restart chandlery-server");
}

/// The workers come over TLS, as from another machine.
pub(crate) fn containers_can_reach_it(machine: &Machine, more: &str) {
    machine.ok(&format!(
        "address=$(hostname -I | cut -d' ' -f1)
         printf 'listen = \"0.0.0.0:8420\"\\ntls_names = [\"%s\"]\\n' \"$address\" >/etc/chandlery/server.toml
         systemctl restart chandlery-server
         fingerprint=$(sed -n 's/.*\"ca_fingerprint\": \"\\(.*\\)\".*/\\1/p' /var/lib/chandlery/local.json)
         printf '%s\\n' \"CHANDLERY_ADDR=https://$address:8420\" \"CHANDLERY_FINGERPRINT=$fingerprint\" {more} \
             >/etc/chandlery/client.env"
    ));
}

fn a_program_of_the_hosts_gets_its_values(host: &Host) {
    let machine = &host.machine;
    // The sample app wants to know where its files are; the unit's own variable is not handed on.
    machine.ok("mkdir -p /etc/systemd/system/app.service.d
        printf '[Service]\\nEnvironment=FILES=/run/app/secrets\\n' >/etc/systemd/system/app.service.d/sample.conf");
    host.follow("A program of the host's");
    host.has_its_values("app", "shop");
    let facts = machine.ok("pid=$(systemctl show app --property MainPID --value)
        grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$pid/status
        stat -c '%a' /run/app/secrets /run/app/secrets/key; stat -f -c %T /run/app/secrets
        tr '\\0' '\\n' </proc/$pid/environ | grep -c chd_ || true");
    let facts: Vec<&str> = facts.lines().collect();
    assert!(!facts[0].starts_with("Uid:\t0\t"), "{facts:?}");
    assert_eq!(facts[1..], ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "700", "400", "tmpfs", "0"]);
    host.shows_no_value("systemctl show", "systemctl show app; cat /proc/[0-9]*/cmdline 2>/dev/null || true");
    machine.ok("systemctl stop app; [ ! -e /run/app ]");
    assert!(host.printed("app").contains("app ends"), "the app itself was told to end");
    // The exit code is the app's: killed, it starts again.
    machine.ok("systemctl start app; systemctl kill --signal KILL app");
    machine.until("[ $(systemctl show app --property NRestarts --value) -ge 1 ] && systemctl is-active app");
    host.has_its_values("app", "shop");
}

fn a_credential_can_be_kept_from_the_app(host: &Host) {
    let machine = &host.machine;
    let token = "/run/credentials/app.service/chandlery-token";
    // As it was until now: it is the app's to read.
    machine.ok(&format!("[ $(stat -c %u {token}) = $(stat -c %u /run/app) ]"));
    host.follow("A credential that the app cannot read");
    host.has_its_values("app", "shop");
    machine.ok("pid=$(systemctl show app --property MainPID --value)
        grep \"^Uid:[[:space:]]$(id -u app)[[:space:]]\" /proc/$pid/status
        grep '^CapEff:[[:space:]]0000000000000000$' /proc/$pid/status");
    machine.run(&format!("setpriv --reuid app --regid app --clear-groups cat {token}")).fails();
}

fn a_container_without_a_credential_gets_its_values(host: &Host) {
    let machine = &host.machine;
    machine.ok("echo 'host_region = \"east\"' >>/etc/chandlery/server.toml");
    host.follow("docker run, without a credential");
    host.has_its_values("pods-backend", "pods");
    host.shows_no_value(
        "docker inspect",
        "docker inspect backend; systemctl show pods-backend; cat /proc/[0-9]*/cmdline 2>/dev/null || true",
    );
    // The server goes and comes; the container has its folder all the same.
    machine.ok("systemctl restart chandlery-server; systemctl kill --signal KILL pods-backend");
    machine.until(
        "[ $(systemctl show pods-backend --property NRestarts --value) -ge 1 ] && systemctl is-active pods-backend",
    );
    host.has_its_values("pods-backend", "pods");
    // The one that still runs reaches the new socket, too: what `docker exec` starts there is refused for being that.
    machine.ok("systemctl restart chandlery-server
        (docker exec backend /chandlery-entrypoint -- /bin/true 2>&1 || true) | grep 'by `docker exec`'");
    machine.ok("systemctl stop pods-backend; [ -z \"$(docker ps --all --quiet --filter name=backend)\" ]
        [ \"$(systemctl is-failed pods-backend)\" = inactive ]");
    assert!(host.printed("pods-backend").contains("app.py ends"), "the app itself was told to end");
    // What a power cut leaves behind does not keep it from starting.
    machine.ok("docker create --name backend shell; systemctl start pods-backend");
    host.has_its_values("pods-backend", "pods");
}

fn three_containers_with_a_token_get_theirs(host: &Host) {
    let machine = &host.machine;
    host.follow("docker run, with a token");
    for number in 1..=3 {
        host.has_its_values(&format!("pods-worker@{number}"), "pods");
    }
    host.shows_no_value(
        "docker inspect",
        "docker inspect worker-1 worker-2 worker-3; systemctl show pods-worker@1; cat /proc/[0-9]*/cmdline || true",
    );
    machine.ok("[ $(docker ps --quiet --filter name=worker- | wc -l) = 3 ]");
    machine.ok("systemctl stop 'pods-worker@*'; [ $(docker ps --all --quiet --filter name=worker- | wc -l) = 0 ]");
    assert!(host.printed("pods-worker@2").contains("worker.py ends"));
    machine.ok("systemctl start pods-worker@1");
}

fn an_image_as_it_is_gets_variables(host: &Host) {
    let machine = &host.machine;
    // The limits first: what an env-file cannot carry ends the start, and is named.
    let flags = "-s shop -e production --for sealed";
    machine.ok(&format!("printf 'a\\nb' | chandlery set LINES - {flags}"));
    let block = host.page.blocks().iter().find(|block| block.section.starts_with("An image that cannot"));
    let block = block.expect("the page tells it");
    let chandlery_tests::page::Step::Run { script, .. } = &block.step else { panic!("it is a command") };
    assert_ne!(machine.run(script).output().code(), 0);
    let said = machine.ok("journalctl --quiet --no-pager --output cat --unit sealed-image");
    assert!(said.contains("LINES holds a newline"), "{said}");
    machine.ok("systemctl stop sealed-image; [ ! -e /run/sealed-image ]");
    machine.ok("chandlery rm LINES -s shop -e production");
    machine.ok("systemctl start sealed-image");
    machine.until("journalctl --quiet --no-pager --output cat --unit sealed-image | grep ' has '");
    machine.ok("[ -d /run/sealed-image ] && [ -z \"$(ls /run/sealed-image)\" ]");
    let inspected = machine.run("docker inspect sealed-image").ok().stdout;
    host.canaries.assert_present("shop's password", &inspected);
    assert!(!String::from_utf8_lossy(&inspected).contains("chd_"));
    machine.ok("systemctl stop sealed-image; [ ! -e /run/sealed-image ]
        [ -z \"$(docker ps --all --quiet --filter name=sealed-image)\" ]");
    machine.ok("systemctl start sealed-image");
}

fn everything_comes_back(host: &Host) {
    let machine = &host.machine;
    let back = || {
        for (unit, stack) in [("app", "shop"), ("pods-backend", "pods"), ("pods-worker@2", "pods")] {
            machine.until(&format!("systemctl is-active {unit}"));
            host.has_its_values(unit, stack);
        }
        machine.until("systemctl is-active sealed-image");
        machine.until("systemctl is-system-running");
    };
    machine.reboot();
    back();
    machine.cut_power();
    back();
    machine.ok("chandlery audit verify");
}
