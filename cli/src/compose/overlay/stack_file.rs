//! The whole stack as one file for `docker stack deploy`.

use std::path::Path;

use chandlery_wire::DEFAULT_SECRETS_DIRECTORY;

use super::{AUTHORITY, LABEL, Supply, TOKEN, Writer, is_for_us, megabytes, supplies_label};
use crate::compose::service::Service;
use crate::compose::yaml::{Kind, Node};

impl Writer<'_> {
    /// The whole file for Swarm.
    pub(super) fn whole(&self, supplies: &[Supply<'_>]) -> Node {
        let mut root = self.map(vec![("version", self.text("3.8"))]);
        let mut services = self.map(Vec::new());
        let mut secrets = self.map(Vec::new());
        let mut configs = self.map(Vec::new());
        for service in &self.project.services {
            let Some(mut node) = self.own(service).cloned() else { continue };
            let supply = supplies.iter().find(|supply| supply.service.name == service.name);
            if supply.is_none() && !service.profiles.is_empty() {
                continue;
            }
            self.for_swarm(&mut node, service);
            if let Some(supply) = supply {
                self.wrap(&mut node, supply, &mut secrets, &mut configs);
            }
            services.put(&service.name, node);
        }
        root.put("services", services);
        for (key, more) in
            [("networks", None), ("volumes", None), ("secrets", Some(secrets)), ("configs", Some(configs))]
        {
            let mut section = self
                .project
                .tree
                .get(key)
                .filter(|node| !node.is_null())
                .cloned()
                .unwrap_or_else(|| self.map(Vec::new()));
            if key == "secrets" {
                self.project
                    .secrets
                    .keys()
                    .filter(|name| self.is_ours(supplies, name))
                    .for_each(|name| drop(section.take(name)));
            }
            self.make_absolute(&mut section, "file");
            for (name, node) in more.iter().flat_map(Node::pairs) {
                section.put(name, node.clone());
            }
            if !section.pairs().is_empty() {
                root.put(key, section);
            }
        }
        root
    }

    /// What the schema of stack files has otherwise. Keys that Swarm ignores stay, and Swarm says so.
    fn for_swarm(&self, node: &mut Node, service: &Service) {
        node.take("profiles");
        // `docker stack deploy` takes the quotes in an env_file for a part of the value; here it is as compose reads it.
        node.take("env_file");
        let given =
            service.variables.iter().filter_map(|variable| Some((variable.name.as_str(), self.text(variable.text()?))));
        let environment = self.map(given.collect());
        node.put("environment", environment);
        if let Some(depends) =
            node.get("depends_on").map(|depends| self.texts(depends.pairs().iter().map(|(name, _)| name.as_str())))
        {
            node.put("depends_on", depends);
        }
        if let Some(Kind::List(items)) = node.get_mut("volumes").map(|volumes| &mut volumes.kind) {
            for item in items {
                self.make_mount_absolute(item);
            }
        }
    }

    fn wrap(&self, node: &mut Node, supply: &Supply<'_>, secrets: &mut Node, configs: &mut Node) {
        self.put_commands(node, supply);
        if let Some(environment) = node.get_mut("environment") {
            self.put_environment(environment, supply);
        }
        let mut labels = node.take("labels").filter(|labels| !labels.is_null()).unwrap_or_else(|| self.map(Vec::new()));
        labels.put(LABEL, self.text(supplies_label(supply)));
        node.put("labels", labels);

        let items = |node: &Node, key: &str| node.get(key).map(Node::items).unwrap_or_default().to_vec();
        let mut volumes = items(node, "volumes");
        volumes.extend(self.binds(supply).into_iter().map(|(host, target)| self.bind(&host, target)));
        if !self.has_memory(supply) {
            let size = self.map(vec![("size", self.plain(&(megabytes(supply) * 1024 * 1024).to_string()))]);
            let mount =
                vec![("type", self.text("tmpfs")), ("target", self.text(DEFAULT_SECRETS_DIRECTORY)), ("tmpfs", size)];
            volumes.push(self.map(mount));
        }
        node.put("volumes", self.list(volumes));

        let mut own_secrets: Vec<Node> = items(node, "secrets").into_iter().filter(|item| !is_for_us(item)).collect();
        if let Some((path, id)) = &supply.token {
            // What Swarm keeps under a name can never change: another token has another name.
            let name = format!("chandlery_{id}");
            let key = format!("chandlery_token_{}", supply.service.name);
            own_secrets.push(self.map(vec![
                ("source", self.text(key.as_str())),
                ("target", self.text(TOKEN)),
                ("mode", self.plain("0444")),
            ]));
            secrets
                .put(&key, self.map(vec![("file", self.text(path.display().to_string())), ("name", self.text(name))]));
        }
        node.take("secrets");
        if !own_secrets.is_empty() {
            node.put("secrets", self.list(own_secrets));
        }
        if let Some((path, digest)) = &self.common.authority {
            let mut own_configs = items(node, "configs");
            own_configs.push(self.map(vec![("source", self.text("chandlery_ca")), ("target", self.text(AUTHORITY))]));
            node.put("configs", self.list(own_configs));
            let name = self.text(format!("chandlery_ca_{digest}"));
            configs
                .put("chandlery_ca", self.map(vec![("file", self.text(path.display().to_string())), ("name", name)]));
        }
    }

    fn bind(&self, host: &Path, target: &str) -> Node {
        self.map(vec![
            ("type", self.text("bind")),
            ("source", self.text(host.display().to_string())),
            ("target", self.text(target)),
            ("read_only", self.plain("true")),
        ])
    }

    /// Paths of the sections' entries: the file that is written may lie elsewhere.
    fn make_absolute(&self, section: &mut Node, key: &str) {
        let Kind::Map(pairs) = &mut section.kind else { return };
        for (_, node) in pairs {
            if let Some(path) = node.get(key).and_then(Node::as_str).map(|path| self.common.folder.join(path)) {
                node.put(key, self.text(path.display().to_string()));
            }
        }
    }

    fn make_mount_absolute(&self, item: &mut Node) {
        let moved = |source: &str| self.common.folder.join(source).display().to_string();
        let is_bind = item.get("type").and_then(Node::as_str) == Some("bind");
        if let Some(source) =
            item.get("source").and_then(Node::as_str).filter(|source| is_bind && !source.starts_with(['/', '~']))
        {
            let source = moved(source);
            item.put("source", self.text(source));
        } else if let Some((source, rest)) =
            item.as_str().and_then(|text| text.split_once(':')).filter(|(source, _)| source.starts_with('.'))
        {
            *item = self.text(format!("{}:{rest}", moved(source)));
        }
    }
}
