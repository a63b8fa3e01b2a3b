//! From a control group to a container.

/// The id of the container that a process is in, by its `/proc/PID/cgroup` (cgroups(7)).
///
/// Version 1 has a line for each hierarchy, version 2 one line. A container's group is named after it: `…/<id>`, or
/// `…/docker-<id>.scope` where systemd makes the groups. Only the end counts: what stands before it is the parent, which
/// whoever starts a container chooses freely (`--cgroup-parent /docker/<somebody else's id>`). Hierarchies that Docker
/// does not manage may be without an id; two ids contradict each other.
pub(super) fn container_id(cgroups: &str) -> Option<&str> {
    let mut found = None;
    for line in cgroups.lines() {
        // hierarchy:controllers:path
        let path = line.splitn(3, ':').nth(2)?;
        let Some(id) = path.rsplit('/').next().and_then(id) else { continue };
        if found.is_some_and(|other| other != id) {
            return None;
        }
        found = Some(id);
    }
    found
}

fn id(name: &str) -> Option<&str> {
    let id = match name.strip_suffix(".scope") {
        Some(scope) => scope.strip_prefix("docker-")?,
        None => name,
    };
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    (id.len() == 64 && id.bytes().all(hex)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1f0c3a5b7d9e2f4a6c8b0d1e3f5a7b9c1d2e4f6a8b0c2d4e6f8a0b1c3d5e7f90";
    const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn both_versions_and_both_drivers_are_read() {
        for text in [
            format!("9:name=systemd:/docker/{ID}\n8:pids:/docker/{ID}\n1:cpu:/docker/{ID}\n"),
            format!("9:memory:/docker/{ID}\n0::/system.slice/containerd.service\n"),
            format!("0::/docker/{ID}\n"),
            format!("0::/system.slice/docker-{ID}.scope\n"),
            format!("0::/../{ID}\n"),
            format!("4:pids:/docker/{OTHER}/{ID}\n"),
        ] {
            assert_eq!(container_id(&text), Some(ID), "{text}");
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        for text in [
            String::new(),
            "0::/\n".to_owned(),
            "0::/user.slice/user-1000.slice/session-2.scope\n".to_owned(),
            format!("0::/docker/{ID}/init.scope\n"),
            format!("0::/docker/{ID} (deleted)\n"),
            format!("0::/docker/{}\n", &ID[..12]),
            format!("0::/docker/{}\n", ID.to_uppercase()),
            format!("0::/system.slice/cri-containerd-{ID}.scope\n"),
            format!("2:pids:/docker/{ID}\n1:cpu:/docker/{OTHER}\n"),
            format!("/docker/{ID}\n"),
        ] {
            assert_eq!(container_id(&text), None, "{text}");
        }
    }
}
