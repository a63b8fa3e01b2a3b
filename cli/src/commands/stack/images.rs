//! The services' images: what they start, and as whom.

use super::render::{Builder, Prepared};
use crate::compose::Service;
use crate::compose::overlay::Image;
use crate::failure::Failure;

impl Prepared<'_> {
    /// The images of the services, in their order.
    pub(super) fn images(&self, services: &[&Service], builder: &Builder<'_>) -> Result<Vec<(String, Image)>, Failure> {
        let name = |service: &Service| {
            service.image.clone().unwrap_or_else(|| self.runner.built_image(&self.project, &service.name))
        };
        if let Builder::Compose(build, always) = builder {
            let wanted = services
                .iter()
                .filter(|service| service.build && (*always || self.runner.dock.image(&name(service)).is_none()));
            let wanted: Vec<&str> = wanted.map(|service| service.name.as_str()).collect();
            if !wanted.is_empty() {
                build(&wanted)?;
            }
        }
        let mut images = Vec::new();
        let mut faults = Vec::new();
        for service in services {
            let name = name(service);
            let here = self.runner.dock.image(&name).or_else(|| {
                let pulled = !service.build && self.runner.dock.pull(&name);
                pulled.then(|| self.runner.dock.image(&name)).flatten()
            });
            match here {
                Some(image) => images.push((name, image)),
                None if service.build => faults.push(format!("{}: {name} is not built yet", service.name)),
                None => faults.push(format!("{}: {name} is not here and cannot be pulled", service.name)),
            }
        }
        if faults.is_empty() {
            return Ok(images);
        }
        let hint = "build or pull them first: what an image starts is read from the image";
        Err(Failure::failed("some images are not here", hint).with_faults(faults))
    }

    /// Whom the service's process runs as, where it is not root.
    pub(super) fn owner(&self, service: &Service, image: &str, found: &Image) -> Result<Option<(u32, u32)>, Failure> {
        let user = service.user.as_deref().unwrap_or(&found.user);
        if user.is_empty() || user == "root" || user == "0" || user.starts_with("0:") || user.starts_with("root:") {
            return Ok(None);
        }
        let ids = self.runner.dock.ids(image, user).ok_or_else(|| {
            let hint = "write `user:` as numbers, such as \"999:999\"";
            Failure::failed(format!("{}: it is not known who {user} is in the image {image}", service.name), hint)
        })?;
        Ok((ids != (0, 0)).then_some(ids))
    }
}
