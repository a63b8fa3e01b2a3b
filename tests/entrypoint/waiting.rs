//! Waiting for real servers in the states in which they accept connections and are not ready.

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use chandlery_tests::daemon::{Daemon, installed, not_as_root};
use chandlery_tests::{Output, Program, Run};
use serde_json::Value;

/// Longer than any of these servers takes to come up on a busy machine.
const LONG: &str = "300s";

/// `chandlery-entrypoint wait` for these URLs.
fn wait(urls: &[&str], time: &str) -> Run {
    let run = Run::new(Program::Entrypoint.path()).args(["wait", "--format", "json", "--timeout", time]);
    urls.iter().fold(run, |run, url| run.args(["--wait", url]))
}

/// What was said of all dependencies, in the order it was said: state and detail.
fn told(output: &Output) -> Vec<(String, String)> {
    let lines = output.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.map(|line| (text(&line, "state"), text(&line, "detail"))).collect()
}

/// Waits for a server that is not ready, until the words are said of it.
#[track_caller]
fn is_not_ready(daemon: &Daemon, url: &str, why: &str) {
    let output = wait(&[url], "3s").output();
    let told = told(&output);
    let said = told.iter().any(|(state, detail)| state == "not-ready" && detail.contains(why));
    assert!(output.code() == 1 && said, "{output}\n{}", daemon.log());
}

#[track_caller]
fn becomes_ready(daemon: &Daemon, url: &str, run: Run) -> Output {
    let output = run.output();
    assert_eq!(output.code(), 0, "{url}: {output}\n{}", daemon.log());
    assert_eq!(told(&output).last().map(|(state, _)| state.as_str()), Some("ready"), "{output}");
    output
}

fn redis(daemon: &Daemon, options: &[&str]) -> Command {
    let mut command = Command::new(installed("redis-server"));
    let port = daemon.port.to_string();
    command.args([
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--daemonize",
        "no",
        "--enable-debug-command",
        "yes",
    ]);
    command.args(options);
    command
}

#[test]
fn redis_that_loads_its_data_is_not_ready_and_one_that_wants_a_password_is() {
    let mut daemon = Daemon::new();
    let url = format!("redis://:secret@127.0.0.1:{}/0", daemon.port);
    daemon.start(&mut redis(&daemon, &["--rdbcompression", "no"]));
    becomes_ready(&daemon, &url, wait(&[&url], LONG));
    // Two hundred keys, which then take 20 ms each to load; after each it looks at its connections.
    let port = daemon.port.to_string();
    let cli = |words: &[&str]| Run::new(installed("redis-cli")).args(["-p", &port]).args(words).ok();
    cli(&["DEBUG", "POPULATE", "200", "key", "2000"]);
    cli(&["SAVE"]);
    let slowly = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    daemon.start(&mut redis(&daemon, &[&slowly[..], &["--requirepass", "secret"]].concat()));
    let output = becomes_ready(&daemon, &url, wait(&[&url], LONG));
    // Who does not log in is not told that it loads.
    let loading = told(&output).iter().any(|(state, detail)| state == "not-ready" && detail.starts_with("LOADING"));
    assert!(loading, "{output}");
    let without = format!("redis://127.0.0.1:{}", daemon.port);
    becomes_ready(&daemon, &without, wait(&[&without], LONG));
}

#[test]
fn redis_that_lost_its_master_is_not_ready() {
    let mut daemon = Daemon::new();
    let url = format!("redis://127.0.0.1:{}", daemon.port);
    // Nobody listens on port 1.
    daemon.start(&mut redis(&daemon, &["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"]));
    becomes_ready(&daemon, "tcp", wait(&[&format!("tcp://127.0.0.1:{}", daemon.port)], LONG));
    is_not_ready(&daemon, &url, "MASTERDOWN");
    Run::new(installed("redis-cli")).args(["-p", &daemon.port.to_string(), "REPLICAOF", "NO", "ONE"]).ok();
    becomes_ready(&daemon, &url, wait(&[&url], LONG));
}

#[test]
fn mariadb_that_has_no_connection_left_is_not_ready() {
    let mut daemon = Daemon::new();
    let data = daemon.folder().join("data");
    std::fs::create_dir(&data).expect("an own folder");
    let url = format!("mysql://root:secret@127.0.0.1:{}/simple_db", daemon.port);
    let mut command = Command::new(installed("mariadbd"));
    // Without system tables, so that only the grant tables are missing: it greets all the same.
    command.args(["--no-defaults", "--skip-grant-tables", "--max-connections=10", "--bind-address=127.0.0.1"]);
    command.arg(format!("--port={}", daemon.port)).arg(format!("--datadir={}", data.display()));
    command.arg(format!("--socket={}", daemon.folder().join("socket").display()));
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    let early = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&url], LONG).output());
        daemon.start(&mut command);
        waiting.join().expect("a run ends")
    });
    assert_eq!(early.code(), 0, "{early}\n{}", daemon.log());
    // Connections that have been greeted and say nothing; one more than the limit is kept for an administrator.
    let greeted = |_| {
        let mut socket = TcpStream::connect(("127.0.0.1", daemon.port)).expect("it listens");
        socket.read_exact(&mut [0; 5]).expect("it greets");
        socket
    };
    let held: Vec<TcpStream> = (0..11).map(greeted).collect();
    is_not_ready(&daemon, &url, "error 1040: Too many connections");
    drop(held);
    becomes_ready(&daemon, &url, wait(&[&url], LONG));
}

#[test]
fn postgres_that_recovers_is_not_ready_until_it_is_promoted() {
    let mut daemon = Daemon::new();
    let data = daemon.folder().join("data");
    let command = not_as_root(&installed("initdb"))
        .args(["--no-sync", "-A", "scram-sha-256", "-U", "postgres", "-D"])
        .arg(&data)
        .arg(format!("--pwfile={}", daemon.write("password", "secret\n").display()))
        .current_dir(daemon.folder())
        .output();
    let output = command.expect("initdb runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let start = |daemon: &mut Daemon, options: &[&str]| {
        let mut command = not_as_root(&installed("postgres"));
        command.arg("-D").arg(&data).args(["-p", &daemon.port.to_string(), "-c", "fsync=off", "-k", ""]);
        daemon.start(command.args(options));
    };
    let url = format!("postgres://app:secret@127.0.0.1:{}/shop?sslmode=disable", daemon.port);
    start(&mut daemon, &[]);
    becomes_ready(&daemon, &url, wait(&[&url], LONG));
    // Killed, it has to recover; as a standby that serves nobody it goes on with that for ever.
    daemon.stop();
    std::fs::write(data.join("standby.signal"), "").expect("the folder takes a file");
    std::fs::remove_file(data.join("postmaster.pid")).expect("it was killed");
    start(&mut daemon, &["-c", "hot_standby=off", "-c", "restore_command=false"]);
    becomes_ready(&daemon, "tcp", wait(&[&format!("tcp://127.0.0.1:{}", daemon.port)], LONG));
    is_not_ready(&daemon, &url, "the database system is");
    let output = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&url], LONG).output());
        thread::sleep(Duration::from_millis(300));
        let promoted = not_as_root(&installed("pg_ctl"))
            .args(["promote", "-W", "-D"])
            .arg(&data)
            .current_dir(daemon.folder())
            .output();
        assert!(promoted.expect("pg_ctl runs").status.success(), "{}", daemon.log());
        waiting.join().expect("a run ends")
    });
    assert_eq!(output.code(), 0, "{output}\n{}", daemon.log());
    assert!(told(&output).iter().any(|(state, _)| state == "not-ready"), "{output}");
}

#[test]
fn memcached_answers_when_it_is_there() {
    let mut daemon = Daemon::new();
    let url = format!("memcached://127.0.0.1:{}", daemon.port);
    let port = daemon.port.to_string();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&url], LONG).output());
        thread::sleep(Duration::from_millis(200));
        daemon.start(not_as_root(&installed("memcached")).args(["-l", "127.0.0.1", "-p", &port]));
        let output = waiting.join().expect("a run ends");
        assert_eq!(output.code(), 0, "{output}\n{}", daemon.log());
        assert!(told(&output).iter().any(|(state, _)| state == "refused"), "{output}");
    });
}

/// A CA and a certificate of it for 127.0.0.1.
fn certificates(daemon: &Daemon) -> (PathBuf, PathBuf, PathBuf) {
    let folder = daemon.folder();
    let openssl = |words: &[&str]| drop(Run::new("/usr/bin/openssl").args(words).current_dir(folder).ok());
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let config = "[req]\ndistinguished_name=name\n[name]\n[ca]\nbasicConstraints=critical,CA:true\n[leaf]\nsubjectAltName=IP:127.0.0.1\n";
    daemon.write("openssl.cnf", config);
    let ca =
        ["-subj", "/CN=Test CA", "-config", "openssl.cnf", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&["req", "-x509", "-days", "2"][..], &key, &ca].concat());
    openssl(
        &[&["req", "-subj", "/CN=leaf", "-config", "openssl.cnf", "-keyout", "key.pem", "-out", "leaf.csr"][..], &key]
            .concat(),
    );
    let signed = ["-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert.pem"];
    openssl(&[&["x509", "-req", "-days", "2", "-extfile", "openssl.cnf", "-extensions", "leaf"][..], &signed].concat());
    (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"))
}

#[test]
fn nginx_is_ready_by_its_status_behind_a_private_ca() {
    let mut daemon = Daemon::new();
    let (ca, cert, key) = certificates(&daemon);
    let folder = daemon.folder().display().to_string();
    let ready = daemon.folder().join("ready");
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         server {{ listen 127.0.0.1:{} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ if (!-f {}) {{ return 503; }} return 204; }} }} }}\n",
        daemon.port,
        cert.display(),
        key.display(),
        ready.display()
    );
    let config = daemon.write("nginx.conf", &config);
    daemon.start(Command::new(installed("nginx")).args(["-e", "stderr", "-p", &folder, "-c"]).arg(&config));
    let url = format!("https://127.0.0.1:{}/healthz", daemon.port);
    let untrusted = wait(&[&url], "1s").env("WAIT_CACERT", &ca);
    // First the server comes up, then it says 503.
    let output = untrusted.output();
    assert!(told(&output).iter().any(|(_, detail)| detail == "status 503"), "{output}\n{}", daemon.log());
    let any = format!("{url}#status=2xx,503");
    becomes_ready(&daemon, &any, wait(&[&any], LONG).env("WAIT_CACERT", &ca));
    let other = Daemon::new();
    let (other, ..) = certificates(&other);
    let output = wait(&[&url], "1s").env("WAIT_CACERT", &other).output();
    assert!(told(&output).iter().any(|(_, detail)| detail.contains("does not lead to a CA")), "{output}");
    std::fs::write(&ready, "").expect("an own folder");
    becomes_ready(&daemon, &url, wait(&[&url], LONG).env("WAIT_CACERT", pem(&ca)));
}

fn pem(path: &Path) -> String {
    std::fs::read_to_string(path).expect("openssl wrote it")
}

#[test]
fn redis_over_tls_behind_a_private_ca_is_found() {
    let mut daemon = Daemon::new();
    let (ca, cert, key) = certificates(&daemon);
    let [ca_file, cert, key] = [&ca, &cert, &key].map(|path| path.display().to_string());
    let port = daemon.port.to_string();
    let mut command = Command::new(installed("redis-server"));
    command.args(["--port", "0", "--tls-port", &port, "--bind", "127.0.0.1", "--save", "", "--tls-auth-clients", "no"]);
    daemon.start(command.args(["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca_file]));
    let url = format!("rediss://127.0.0.1:{port}");
    becomes_ready(&daemon, &url, wait(&[&url], LONG).env("WAIT_CACERT", &ca));
    // Without TLS it is not Redis.
    is_not_ready(&daemon, &url.replace("rediss", "redis"), "");
}

#[test]
fn rabbitmq_is_waited_for_from_its_boot_on() {
    let mut daemon = Daemon::new();
    let folder = daemon.folder().to_owned();
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", daemon.port);
    let mut command = not_as_root(&installed("rabbitmq-server"));
    // A node of its own, which listens on loopback alone. It would start a registry of nodes that outlives it; here is one.
    let mut registry = Daemon::new();
    let registry_port = registry.port.to_string();
    registry.start(not_as_root(&installed("epmd")).args(["-address", "127.0.0.1", "-port", &registry_port]));
    command.env("HOME", &folder).env("RABBITMQ_NODENAME", format!("test{}@localhost", daemon.port));
    command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", daemon.port.to_string());
    command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia")).env("RABBITMQ_LOG_BASE", folder.join("logs"));
    command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_ENABLED_PLUGINS_FILE", daemon.write("plugins", "[]."));
    command.env("RABBITMQ_CONFIG_FILE", daemon.write("rabbitmq.conf", "")).env("RABBITMQ_PID_FILE", folder.join("pid"));
    command.env("RABBITMQ_DIST_PORT", Daemon::new().port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command.env("ERL_EPMD_PORT", &registry_port);
    let output = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&url], LONG).output());
        daemon.start(&mut command);
        waiting.join().expect("a run ends")
    });
    assert_eq!(output.code(), 0, "{output}\n{}", daemon.log());
    assert!(told(&output).iter().any(|(state, _)| state == "refused"), "{output}");
    // Another protocol's question gets no answer that could be taken for readiness.
    is_not_ready(&daemon, &url.replace("amqp", "redis"), "");
}
