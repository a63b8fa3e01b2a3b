//! What a service's container would lack: the files ask, the bundle answers.

use std::collections::BTreeSet;

use chandlery_wire::dangerous::is_dangerous;
use chandlery_wire::{Bundle, DEFAULT_SECRETS_DIRECTORY};
use serde::Serialize;

use super::load::required;
use super::{Project, Service};

/// One thing that is not as the service needs it. It holds no value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Lack {
    /// The variable or file.
    pub(crate) name: String,
    pub(crate) detail: String,
}

impl Lack {
    pub(crate) fn new(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into() }
    }
}

/// Everything that the service would lack with this bundle. The `optional` variables may be missing, as compose lets them.
pub(crate) fn lacks(project: &Project, service: &Service, bundle: &Bundle, optional: &[String]) -> Vec<Lack> {
    let mut lacks = Vec::new();
    files(service, bundle, &mut lacks);
    variables(service, bundle, optional, &mut lacks);
    refused(service, bundle, &mut lacks);
    lacks.extend(by_compose(project, service));
    lacks.sort();
    lacks.dedup();
    lacks
}

fn files(service: &Service, bundle: &Bundle, lacks: &mut Vec<Lack>) {
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for (mounted, name) in service.secrets.iter().filter_map(|mounted| Some((mounted, mounted.name_in_secrets()?))) {
        asked.insert(name);
        match bundle.files.iter().find(|file| file.name.as_str() == name) {
            None => lacks.push(Lack::new(name, format!("the secret of {} is not in the store as a file", mounted.at))),
            Some(file) if file.value.is_empty() => lacks.push(Lack::new(name, "the secret is empty in the store")),
            Some(_) => {}
        }
    }
    for variable in &service.variables {
        let stored = bundle.variables.iter().find(|stored| stored.name.as_str() == variable.name);
        let text =
            stored.map_or_else(|| variable.text(), |stored| std::str::from_utf8(stored.value.expose_secret()).ok());
        let file = text.and_then(|text| text.strip_prefix(DEFAULT_SECRETS_DIRECTORY)?.strip_prefix('/'));
        if let Some(name) = file
            && !asked.contains(name)
            && !bundle.files.iter().any(|file| file.name.as_str() == name)
        {
            let path = format!("{DEFAULT_SECRETS_DIRECTORY}/{name:.128}");
            lacks.push(Lack::new(
                &variable.name,
                format!("it leads to {path}, and the store has no such file for the service"),
            ));
        }
    }
}

fn variables(service: &Service, bundle: &Bundle, optional: &[String], lacks: &mut Vec<Lack>) {
    for variable in service.variables.iter().filter(|variable| !optional.contains(&variable.name)) {
        let Some(why) = variable.lacks() else { continue };
        let stored = bundle.variables.iter().find(|stored| stored.name.as_str() == variable.name);
        let path =
            bundle.files.iter().any(|file| file.variable.as_ref().is_some_and(|name| name.as_str() == variable.name));
        match stored {
            _ if path => {}
            None => lacks.push(Lack::new(&variable.name, format!("{why} ({}), and the store has none", variable.at))),
            Some(stored) if stored.value.is_empty() => {
                lacks.push(Lack::new(&variable.name, format!("{why} ({}), and it is empty in the store", variable.at)));
            }
            Some(_) => {}
        }
    }
}

/// What the entrypoint, or the app, would refuse.
fn refused(service: &Service, bundle: &Bundle, lacks: &mut Vec<Lack>) {
    let injected: BTreeSet<&str> = bundle.variables.iter().map(|variable| variable.name.as_str()).collect();
    let set = |name: &str| {
        let own = service.variable(name).is_some_and(|variable| variable.text().is_some_and(|text| !text.is_empty()));
        injected.contains(name) || own
    };
    for name in &injected {
        if is_dangerous(name) {
            lacks.push(Lack::new(*name, "it changes which code runs: the entrypoint refuses it from the store"));
        }
        let (plain, file) = match name.strip_suffix("_FILE") {
            Some(plain) => (plain.to_owned(), (*name).to_owned()),
            None => ((*name).to_owned(), format!("{name}_FILE")),
        };
        if set(&plain) && set(&file) {
            lacks.push(Lack::new(&plain, format!("it is set, and so is {file}: an app that reads both takes neither")));
        }
    }
}

/// `${NAME:?}` that the store cannot give, because compose wants it before there is a container.
fn by_compose(project: &Project, service: &Service) -> Vec<Lack> {
    let of_service =
        |path: &[String]| path.first().is_some_and(|part| part != "services") || path.get(1) == Some(&service.name);
    let outside = required(&project.uses).filter(|used| !used.in_environment() && of_service(&used.path));
    outside
        .map(|used| {
            Lack::new(&used.name, format!("{} requires it of the shell or .env ({})", used.path.join("."), used.at))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::compose::{Files, World, load};

    fn lacking(text: &str, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
        let shell = BTreeMap::new();
        let read = |path: &Path| match path.to_str() {
            Some("c.yml") => Ok(zeroize::Zeroizing::new(text.as_bytes().to_vec())),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let project =
            load(&Files { files: vec!["c.yml".into()], ..Files::default() }, &World { shell: &shell, read: &read })
                .unwrap();
        let origin = serde_json::json!({"layer": "base", "version": 1});
        let bundle = serde_json::json!({
            "stack": "s", "environment": "e", "service": "a", "revision": 1,
            "variables": variables.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value, "secret": true, "origin": origin})).collect::<Vec<_>>(),
            "files": files.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value, "mode": "0400", "secret": true, "origin": origin})).collect::<Vec<_>>(),
        });
        let bundle: Bundle = serde_json::from_value(bundle).unwrap();
        let optional = ["MAY_BE".to_owned()];
        lacks(&project, &project.services[0], &bundle, &optional).into_iter().map(|lack| lack.name).collect()
    }

    const FILE: &str = "services:\n  a:\n    image: x:${TAG:?}\n    environment:\n      GIVEN: x\n      EMPTY: \"\"\n      UNSET: ${UNSET}\n      \
                        NEEDED: ${OTHER:?}\n      PASSED:\n      MAY_BE:\n      KEY_FILE: /run/secrets/key\n      PW_FILE: /run/secrets/pw\n    secrets: [pw]\n\
                        secrets: {pw: {external: true}}\n";

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        assert_eq!(lacking(FILE, &[], &[]), ["KEY_FILE", "NEEDED", "PASSED", "TAG", "UNSET", "pw"]);
    }

    #[test]
    fn what_the_store_gives_is_not_missing() {
        let variables = [("UNSET", "1"), ("NEEDED", "1"), ("PASSED", "1")];
        let files = [("pw", "x"), ("key", "x")];
        assert_eq!(lacking(FILE, &variables, &files), ["TAG"]);
        assert_eq!(
            lacking(FILE, &[("UNSET", ""), variables[1], variables[2]], &[("pw", ""), files[1]]),
            ["TAG", "UNSET", "pw"]
        );
    }

    #[test]
    fn what_would_be_refused_is_said() {
        let given = [("UNSET", "1"), ("NEEDED", "1"), ("PASSED", "1"), ("PATH", "/x"), ("PW", "x")];
        assert_eq!(lacking(FILE, &given, &[("pw", "x"), ("key", "x")]), ["PATH", "PW", "TAG"]);
    }
}
