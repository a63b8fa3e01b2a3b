use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::super::{Files, World, emit, load, yaml};
use super::*;

fn project(text: &str) -> Project {
    let shell = BTreeMap::new();
    let read = |path: &Path| match path.to_str() {
        Some("/p/c.yml") => Ok(zeroize::Zeroizing::new(text.as_bytes().to_vec())),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let files = Files { files: vec!["/p/c.yml".into()], lenient: true, ..Files::default() };
    load(&files, &World { shell: &shell, read: &read }).unwrap()
}

fn bundle(variables: &[(&str, &str, bool)], files: &[&str]) -> Bundle {
    let origin = serde_json::json!({"layer": "base", "version": 1});
    let variable = |(name, value, secret): &(&str, &str, bool)| serde_json::json!({"name": name, "value": value, "secret": secret, "origin": origin});
    let file =
        |name: &&str| serde_json::json!({"name": name, "value": "x", "mode": "0400", "secret": true, "origin": origin});
    let json = serde_json::json!({
        "stack": "s", "environment": "e", "service": "a", "revision": 1,
        "variables": variables.iter().map(variable).collect::<Vec<_>>(), "files": files.iter().map(file).collect::<Vec<_>>(),
    });
    serde_json::from_value(json).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn image(entrypoint: &[&str], command: &[&str]) -> Image {
    Image { entrypoint: words(entrypoint), command: words(command), ..Image::default() }
}

/// The rendered tree, read again from its text, for every service of the file with the same bundles.
fn rendered(project: &Project, image: &Image, bundles: &[Bundle], tool: Tool) -> Node {
    let supply = |service| Supply {
        service,
        image: image.clone(),
        bundles: bundles.to_vec(),
        owner: None,
        identity: vec![("CHANDLERY_SERVICE", "a".to_owned())],
        token: Some(("/state/tokens/a".into(), "tok_1".to_owned())),
    };
    let supplies: Vec<Supply<'_>> = project.services.iter().map(supply).collect();
    let common = Common {
        wrapper: "/opt/e".into(),
        authority: Some(("/state/ca.crt".into(), "abc".to_owned())),
        socket_folder: None,
        folder: "/p".into(),
    };
    let text = emit(&overlay(project, &supplies, &common, tool).unwrap());
    yaml::read(&text, &Rc::from("o.yml")).unwrap()
}

fn at<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(node, |node, key| node.get(key))
}

fn service<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    at(node.get("services").unwrap().get("a").unwrap(), path)
}

fn strings(node: &Node, path: &str) -> Vec<String> {
    service(node, path).map(Node::strings).unwrap_or_default()
}

/// What docker runs for the file with the override over it: compose's entrypoint or the image's, then compose's command, or
/// the image's where compose says neither (dockerd's merge; compose replaces both keys).
fn runs(file: &Service, over: &Node, image: &Image) -> Vec<String> {
    let said = |key: &str, own: &Command| match (service(over, key).map(Node::strings), own) {
        (Some(words), _) => Some(words),
        (None, Command::Words(words)) => Some(words.clone()),
        (None, Command::Unsaid) => None,
    };
    let entrypoint = said("entrypoint", &file.entrypoint);
    let command = said("command", &file.command);
    let command = command.or_else(|| entrypoint.is_none().then(|| image.command.clone())).unwrap_or_default();
    let entrypoint = entrypoint.unwrap_or_else(|| image.entrypoint.clone());
    // $$ is what keeps a dollar through compose's interpolation.
    entrypoint.into_iter().chain(command).map(|word| word.replace("$$", "$")).collect()
}

#[test]
fn the_original_command_runs_behind_the_wrapper_in_all_nine_cases() {
    let images = [image(&["/ep", "$x"], &["cmd", "a b"]), image(&[], &["cmd"]), image(&["/ep"], &[])];
    let files = [
        "",
        ", entrypoint: \"sh -c 'x && $$y'\"",
        ", command: [c1, \"$${d}\"]",
        ", entrypoint: [e], command: \"c 'd e'\"",
    ];
    let mut cases = 0;
    for image in &images {
        for keys in files {
            let project = project(&format!("services: {{a: {{image: i{keys}}}}}\n"));
            let file = &project.services[0];
            let nothing = Node::new(
                Kind::Map(vec![(
                    "services".to_owned(),
                    Node::new(Kind::Map(vec![("a".to_owned(), Node::new(Kind::Map(Vec::new()), &file.at))]), &file.at),
                )]),
                &file.at,
            );
            let before = runs(file, &nothing, image);
            let over = rendered(&project, image, &[bundle(&[], &[])], Tool::One);
            let after = runs(file, &over, image);
            assert_eq!(after[..2], [WRAPPER, "--"], "{keys}");
            assert_eq!(after[2..], before, "{image:?} {keys}");
            cases += 1;
        }
    }
    assert!(cases >= 9);
}

#[test]
fn a_service_that_has_nothing_to_start_is_named() {
    let project = project("services: {a: {image: i}}\n");
    let supply = Supply {
        service: &project.services[0],
        image: Image::default(),
        bundles: Vec::new(),
        owner: None,
        identity: Vec::new(),
        token: None,
    };
    let faults = overlay(&project, &[supply], &Common::default(), Tool::One).unwrap_err();
    assert!(faults[0].starts_with("a: "), "{faults:?}");
}

const FILE: &str = "version: '3.1'\nservices:\n  a:\n    image: i\n    env_file: gone.env\n    environment: {PW: hunter2, PORT: 1, OWN: x$$y, DIFFERS: 1}\n    \
                    secrets: [pw, {source: far, target: /etc/far}]\n    depends_on: [a]\n    volumes: [./x:/x, v:/v]\nvolumes: {v: }\n\
                    secrets: {pw: {file: ./pw}, far: {external: true}, unused: {external: true}}\n";

#[test]
fn what_the_store_gives_as_a_secret_is_blank_and_what_is_plain_is_the_store_s() {
    let project = project(FILE);
    let one = bundle(
        &[("PW", "s3cret", true), ("PORT", "2$", false), ("DIFFERS", "1", false), ("NEW", "s3cret", true)],
        &["pw"],
    );
    let other = bundle(&[("PW", "s3cret", true), ("PORT", "2$", false), ("DIFFERS", "2", false)], &["pw"]);
    let over = rendered(&project, &image(&[], &["c"]), &[one, other], Tool::One);
    let text = |name: &str| service(&over, "environment").unwrap().get(name).and_then(Node::as_str);
    assert_eq!((text("PW"), text("PORT"), text("NEW")), (Some(""), Some("2$$"), None));
    assert_eq!((text("OWN"), text("DIFFERS")), (None, None), "compose's own value stays");
    assert!(!emit(&over).contains("s3cret"));
}

#[test]
fn a_health_check_that_uses_a_secret_gets_the_app_s_environment() {
    let check = |test: &str, of_image: &[&str]| {
        let project = project(&format!("services: {{a: {{image: i, environment: {{PW: x, PORT: 1}}{test}}}}}\n"));
        let image = Image { healthcheck: words(of_image), ..image(&[], &["c"]) };
        let bundle = bundle(&[("PW", "s3cret", true), ("PORT", "2", false)], &[]);
        strings(&rendered(&project, &image, &[bundle], Tool::One), "healthcheck.test")
    };
    let through = |command: &[&str]| words(&[&["CMD", WRAPPER, "env", "--"], command].concat());
    let shell = check(", healthcheck: {test: \"ping -p$$PW || exit 1\", interval: 5s}", &[]);
    assert_eq!(shell, through(&["/bin/sh", "-c", "ping -p$$PW || exit 1"]));
    assert_eq!(check(", healthcheck: {test: [CMD, sh, -c, \"x $${PW}\"]}", &[]), through(&["sh", "-c", "x $${PW}"]));
    assert_eq!(check("", &["CMD-SHELL", "ping -p$PW"]), through(&["/bin/sh", "-c", "ping -p$$PW"]));
    for other in [
        ", healthcheck: {test: \"ping $$PORT $$PWD $$$$ PW\"}",
        ", healthcheck: {test: [NONE]}",
        ", healthcheck: {disable: true}",
    ] {
        assert!(check(other, &["CMD-SHELL", "ping -p$PW"]).is_empty(), "{other}");
    }
    assert!(
        check(", healthcheck: {test: [CMD, own]}", &["CMD-SHELL", "ping -p$PW"]).is_empty(),
        "the file's replaces it"
    );
}

#[test]
fn a_health_check_that_only_names_a_variable_gets_it_and_one_that_is_a_script_is_told_of() {
    let look = |test: &str| {
        let project = project(&format!(
            "services: {{a: {{image: i, environment: {{APP_TOKEN: x, PORT: 1}}, healthcheck: {{test: {test}}}}}}}\n"
        ));
        let bundles = vec![bundle(&[("APP_TOKEN", "s3cret", true), ("PORT", "2", false)], &[])];
        let supply = Supply {
            service: &project.services[0],
            image: image(&[], &["c"]),
            bundles,
            owner: None,
            identity: Vec::new(),
            token: None,
        };
        (health_check(&supply).is_some(), unseen_by_script(&supply).join(","))
    };
    let no = String::new;
    assert_eq!(look("[CMD, python3, -c, \"import os; os.environ['APP_TOKEN']\"]"), (true, no()));
    assert_eq!(look("\"curl -H @APP_TOKENS localhost\""), (false, no()));
    assert_eq!(look("[CMD, /bin/sh, /hc.sh]"), (false, "APP_TOKEN".to_owned()));
    assert_eq!(look(&format!("[CMD, {WRAPPER}, env, --, /hc.sh]")), (false, no()));
}

#[test]
fn docker_compose_gets_external_secrets_and_compose_2_has_them_taken_away() {
    let project = project(FILE);
    let bundles = [bundle(&[], &["pw"])];
    let one = rendered(&project, &image(&[], &["c"]), &bundles, Tool::One);
    assert_eq!(one.get("version").and_then(Node::as_str), Some("3.1"));
    let named: Vec<&str> = one.get("secrets").unwrap().pairs().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, ["pw", "unused"], "what is mounted elsewhere stays with compose");
    assert!(service(&one, "secrets").is_none() && service(&one, "env_file").is_none());
    assert_eq!(strings(&one, "tmpfs"), ["/run/secrets:mode=0700,size=1m"]);
    assert_eq!(
        strings(&one, "volumes"),
        [
            "/opt/e:/usr/local/bin/chandlery-entrypoint:ro",
            "/state/ca.crt:/run/chandlery/ca.crt:ro",
            "/state/tokens/a:/run/chandlery/token:ro"
        ]
    );

    let two = rendered(&project, &image(&[], &["c"]), &bundles, Tool::Two);
    assert!(two.get("version").is_none() && two.get("secrets").is_none());
    let secrets = service(&two, "secrets").unwrap();
    assert_eq!(secrets.mark, Mark::Override);
    assert_eq!(secrets.items().len(), 1);
    assert_eq!(secrets.items()[0].get("source").and_then(Node::as_str), Some("far"));
    assert_eq!(service(&two, "env_file").unwrap().mark, Mark::Reset);
}

#[test]
fn a_secret_that_one_service_wants_elsewhere_is_mounted_there_and_nowhere_else() {
    let project = project(
        "version: '3.1'\nservices: {a: {image: i, secrets: [pw, {source: pw, target: /etc/pw}]}}\n\
         secrets: {pw: {file: ./pw}}\n",
    );
    let bundles = [bundle(&[], &["pw"])];
    let both = rendered(&project, &image(&[], &["c"]), &bundles, Tool::One);
    assert!(both.get("secrets").is_some(), "docker-compose mounts it no more");
    let volumes = strings(&both, "volumes");
    assert!(volumes.iter().any(|one| one.starts_with('/') && one.ends_with("/pw:/etc/pw:ro")), "{volumes:?}");
    let two = rendered(&project, &image(&[], &["c"]), &bundles, Tool::Two);
    assert!(!strings(&two, "volumes").iter().any(|one| one.contains("/etc/pw")), "Compose 2 goes on doing it");
}

#[test]
fn the_override_over_the_files_keeps_everything_else() {
    let project = project(FILE);
    let over = rendered(&project, &image(&[], &["c"]), &[bundle(&[("PW", "x", true)], &["pw"])], Tool::One);
    let mut merged = project.tree;
    super::super::merge::files(&mut merged, over);
    let volumes = at(&merged, "services.a.volumes").unwrap().strings();
    assert_eq!(volumes.len(), 5, "{volumes:?}");
    assert_eq!(at(&merged, "services.a.image").and_then(Node::as_str), Some("i"));
    assert_eq!(at(&merged, "services.a.environment.OWN").and_then(Node::as_str), Some("x$y"));
}

#[test]
fn swarm_gets_a_whole_file_without_the_secrets_that_the_entrypoint_brings() {
    let mut project = project(FILE);
    // Read as `-f c.yml`: what is written may lie anywhere, and its paths must not depend on it.
    project.folder = "".into();
    let stack =
        rendered(&project, &image(&["/ep"], &["c"]), &[bundle(&[("PW", "s3cret", true)], &["pw"])], Tool::Swarm);
    assert_eq!(stack.get("version").and_then(Node::as_str), Some("3.8"));
    let sources: Vec<&str> =
        service(&stack, "secrets").unwrap().items().iter().filter_map(|item| item.get("source")?.as_str()).collect();
    assert_eq!(sources, ["far", "chandlery_token_a"]);
    let declared: Vec<&str> = stack.get("secrets").unwrap().pairs().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(declared, ["far", "chandlery_token_a"]);
    assert_eq!(at(&stack, "secrets.chandlery_token_a.name").and_then(Node::as_str), Some("chandlery_tok_1"));
    assert_eq!(strings(&stack, "depends_on"), ["a"]);
    assert!(service(&stack, "env_file").is_none() && service(&stack, "tmpfs").is_none());
    let volumes = service(&stack, "volumes").unwrap().items();
    assert_eq!(volumes[0].as_str(), Some("/p/./x:/x"));
    let memory = volumes.last().unwrap();
    assert_eq!(memory.get("target").and_then(Node::as_str), Some("/run/secrets"));
    assert_eq!(memory.get("tmpfs").and_then(|tmpfs| tmpfs.get("size")).and_then(Node::as_str), Some("1048576"));
    let text = |name: &str| service(&stack, "environment").unwrap().get(name).and_then(Node::as_str);
    assert_eq!((text("PW"), text("OWN"), text("PORT")), (Some(""), Some("x$$y"), Some("1")));
    assert!(at(&stack, "configs.chandlery_ca").is_some() && service(&stack, "configs").is_some());
}

#[test]
fn memory_is_the_process_s_own_and_has_room_for_the_files() {
    let project =
        project("services: {a: {image: i, tmpfs: [/tmp]}, b: {image: i, tmpfs: ['/run/secrets:mode=0700']}}\n");
    let mut large = bundle(&[], &["pw"]);
    large.files[0].value = chandlery_wire::Value::new(vec![b'x'; 700 * 1024]);
    let supply = |service, owner| Supply {
        service,
        image: image(&[], &["c"]),
        bundles: vec![large.clone()],
        owner,
        identity: Vec::new(),
        token: None,
    };
    let supplies = [supply(&project.services[0], Some((999, 1000))), supply(&project.services[1], None)];
    let node = overlay(&project, &supplies, &Common::default(), Tool::One).unwrap();
    assert_eq!(strings(&node, "tmpfs"), ["/run/secrets:mode=0700,size=2m,uid=999,gid=1000"]);
    assert!(at(&node, "services.b.tmpfs").is_none(), "it has it already");
}

#[test]
fn a_container_is_made_anew_when_what_it_gets_is_another_version() {
    let label = |bundle: Bundle| {
        let project = project("services: {a: {image: i}}\n");
        let node = rendered(&project, &image(&[], &["c"]), &[bundle], Tool::One);
        service(&node, "labels").unwrap().get(LABEL).and_then(Node::as_str).unwrap().to_owned()
    };
    let first = bundle(&[("A", "1", true)], &[]);
    let mut value = first.clone();
    value.variables[0].origin.version = 2;
    let mut elsewhere = first.clone();
    elsewhere.revision = 9;
    let mut template = elsewhere.clone();
    template.variables[0].origin.template = true;
    assert_eq!(label(first.clone()), label(elsewhere), "what others get does not matter");
    assert_ne!(label(first.clone()), label(value));
    assert_ne!(label(first), label(template), "what a template refers to may have changed");
}

#[test]
fn a_container_that_follows_the_store_is_not_made_anew_for_a_value() {
    let text = |value: &str, stored: &str| {
        let project = project(&format!(
            "services: {{a: {{image: i, environment: {{CHANDLERY_WATCH: {value}, PORT: 1, PW: x}}}}}}\n"
        ));
        let mut bundle = bundle(&[("PORT", stored, false), ("PW", stored, true)], &["pw"]);
        bundle.variables[0].origin.version = stored.len().try_into().unwrap();
        emit(&rendered(&project, &image(&[], &["c"]), &[bundle], Tool::One))
    };
    for on in ["1", "true", "\"on\""] {
        assert_eq!(text(on, "2"), text(on, "33"), "{on}");
        assert!(text(on, "2").contains("PW: \"\""), "a secret is still blank");
    }
    assert_ne!(text("0", "2"), text("0", "33"));
}
