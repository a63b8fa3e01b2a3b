//! `--user`: whom the app runs as. The job of gosu and su-exec, without a second program.
//!
//! The image's /etc/passwd and /etc/group are read by hand: a static program has no name services, and an image that
//! was built from nothing has neither file, so numbers work without them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::sys;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// More than this is no list of an image's users.
const LONGEST: usize = 4 * 1024 * 1024;
/// What has no home: what gosu and su-exec say, too.
const NO_HOME: &str = "/";
/// `(uid_t) -1` means "no change" to the kernel, and is nobody.
const NOBODY_AT_ALL: u32 = u32::MAX;
/// The most groups that a process can have (linux/limits.h, NGROUPS_MAX).
const MOST_GROUPS: usize = 65536;

/// Somebody to run the app as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups; the first is `gid`.
    pub groups: Vec<u32>,
    home: OsString,
}

/// Finds the user that the configuration names, and makes sure that this process can become it.
///
/// # Errors
/// The name is unknown or no name at all, or this process is somebody else and may not change that.
pub(crate) fn find(config: &Config) -> Result<Option<User>, Failure> {
    let Some(text) = &config.user else { return Ok(None) };
    let user = look_up(text, &read(PASSWD)?, &read(GROUP)?)?;
    let us = (sys::effective_user(), sys::effective_group());
    if us == (user.uid, user.gid) || sys::may_change_user() {
        return Ok(Some(user));
    }
    let (uid, gid) = us;
    Err(match uid {
        0 => fault(
            format!("the app is to run as user {text}, and this container's root may not become another user"),
            "add to the service: cap_add: [SETUID, SETGID, CHOWN], or set `user:` there instead of CHANDLERY_USER",
        ),
        _ => fault(
            format!(
                "the app is to run as user {text}, and this process is user {uid}:{gid}, who cannot become another"
            ),
            "take `user:` out of the compose file (and USER out of the image), or take CHANDLERY_USER away",
        ),
    })
}

/// Says that the user's rights could not be taken on after all, such as for an id that a user namespace does not have.
pub(crate) fn cannot_become(user: &User, error: &io::Error) -> Failure {
    fault(
        format!("the app is to run as user {}:{}, and the kernel refuses: {error}", user.uid, user.gid),
        "check that the ids exist in this container's user namespace (/proc/self/uid_map), or choose another user",
    )
}

impl User {
    /// Puts the user's home where root's was in the inherited environment, unless HOME is to be preserved. The bundle's
    /// HOME comes later, and wins where it is allowed.
    pub(crate) fn move_in(&self, config: &mut Config) {
        let home = OsStr::new("HOME");
        let inherited = config.inherited.iter().any(|(name, _)| name == home);
        if inherited && config.preserved.iter().any(|name| home == name.as_str()) {
            return;
        }
        config.inherited.retain(|(name, _)| name != home);
        config.inherited.push((home.to_owned(), self.home.clone()));
    }
}

/// `name|uid[:group|gid]`. A group that is named is the only one, as with gosu; otherwise the user gets the groups that
/// list it.
fn look_up(text: &str, passwd: &[u8], group: &[u8]) -> Result<User, Failure> {
    let (name, group_name) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let malformed = name.is_empty() || group_name.is_some_and(|group| group.is_empty() || group.contains(':'));
    if malformed {
        return Err(fault(
            format!("CHANDLERY_USER: {text:?} is not a user, or a user and a group"),
            "write a name or a number, such as app, 999, app:www-data or 999:999",
        ));
    }
    let (mut accounts, groups) = (rows(passwd), rows(group));
    accounts.retain(|account| account.rest.len() >= 3 && id(account.rest[0]).is_some());
    // A name, even one that looks like a number; or else a number, which may have an account, too.
    let account = named(&accounts, name);
    let uid = account.map(|account| account.id).or(number(name)).ok_or_else(|| unknown(name, "user", PASSWD))?;
    let account = account.or(accounts.iter().find(|account| account.id == uid));
    let groups = match (group_name, account) {
        (Some(name), _) => {
            let gid = named(&groups, name).map(|group| group.id).or(number(name));
            vec![gid.ok_or_else(|| unknown(name, "group", GROUP))?]
        }
        // Nobody says which group it is, and root's, which gosu would leave it, is not one to leave to anybody.
        (None, None) => vec![uid],
        (None, Some(account)) => memberships(account.name, id(account.rest[0]).unwrap_or(uid), &groups),
    };
    let home = account.map(|account| account.rest[2]).filter(|home| !home.is_empty());
    let home = OsStr::from_bytes(home.unwrap_or(NO_HOME.as_bytes())).to_owned();
    Ok(User { uid, gid: groups[0], groups, home })
}

/// The groups of a user: its own, and those that list it.
fn memberships(user: &[u8], own: u32, all: &[Row<'_>]) -> Vec<u32> {
    let mut groups = vec![own];
    for group in all {
        let members = group.rest.first().copied().unwrap_or_default();
        let member = members.split(|c| *c == b',').any(|member| member.trim_ascii() == user);
        if member && !groups.contains(&group.id) && groups.len() < MOST_GROUPS {
            groups.push(group.id);
        }
    }
    groups
}

/// A line of /etc/passwd (passwd(5): group, comment, home and shell follow) or /etc/group (group(5): members follow).
struct Row<'a> {
    name: &'a [u8],
    id: u32,
    rest: Vec<&'a [u8]>,
}

/// The lines with a name and a number. All others say nothing, as in every C library: comments, NIS's `+`, what was cut
/// short.
fn rows(text: &[u8]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for line in text.split(|c| *c == b'\n') {
        let mut fields = line.split(|c| *c == b':');
        let (name, _password) = (fields.next().unwrap_or_default(), fields.next());
        let is_name = !matches!(name.first(), None | Some(b'#' | b'+' | b'-'));
        if let Some(id) = fields.next().and_then(id).filter(|_| is_name) {
            rows.push(Row { name, id, rest: fields.collect() });
        }
    }
    rows
}

fn named<'a>(rows: &'a [Row<'a>], name: &str) -> Option<&'a Row<'a>> {
    rows.iter().find(|row| row.name == name.as_bytes())
}

fn id(field: &[u8]) -> Option<u32> {
    number(std::str::from_utf8(field).ok()?)
}

/// A number and nothing around it.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != NOBODY_AT_ALL)
}

/// The file; empty where there is none.
fn read(path: &str) -> Result<Vec<u8>, Failure> {
    match File::open(path).and_then(|file| sys::read_at_most(&file, LONGEST)) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fault(
            format!("{path} cannot be read: {error}"),
            "mend its mode in the image, or take CHANDLERY_USER away",
        )),
    }
}

fn unknown(name: &str, what: &str, file: &str) -> Failure {
    fault(
        format!("CHANDLERY_USER: there is no {what} {name:?} in this image's {file}"),
        "check the spelling, add it to the image, or write its number",
    )
}

fn fault(what: impl Into<String>, hint: &str) -> Failure {
    Failure::new(Exit::Usage, what, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"\n# comment:x:7:7::/:\nroot:x:0:0:root:/root:/bin/sh\njunk\nbad:x:one:1::/:\n\xff:x:5:5::/x:\n\
        app:x:999:998:An app:/home/app:/bin/sh\n+nis::::::\n+::0:0:::\ncut:x:4\n1000:x:7:7::/seven:\nhomeless:x:12:12:::\n\
        big:x:4294967295:1::/:\nneg:x:-1:1::/:\nwide:x:99999999999:1::/:\nlast:x:11:11::/last:";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:33:app,last\n\nvideo:x:44:last , app\nnone:x:45:apple,app2\nwww:x:33:app\n\
        bad:x::app\nwwz:x:-1:app\nshort:x:50\nlog:x:51:app";

    fn found(text: &str) -> User {
        look_up(text, super::tests::PASSWD, super::tests::GROUP).unwrap()
    }

    fn refused(text: &str) -> String {
        let failure = look_up(text, super::tests::PASSWD, super::tests::GROUP).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        failure.text()
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User { uid, gid, groups: groups.to_vec(), home: home.into() }
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(found("app"), user(999, 998, &[998, 33, 44, 51], "/home/app"));
        assert_eq!(found("999"), found("app"), "a number has its account, too");
        assert_eq!(found("app:www"), user(999, 33, &[33], "/home/app"));
        assert_eq!(found("app:7"), user(999, 7, &[7], "/home/app"));
        assert_eq!(found("app:0"), user(999, 0, &[0], "/home/app"));
        assert_eq!(found("1234"), user(1234, 1234, &[1234], "/"), "never root's group by accident");
        assert_eq!(found("1234:www"), user(1234, 33, &[33], "/"));
        assert_eq!(found("1234:0"), user(1234, 0, &[0], "/"));
        assert_eq!(found("root"), user(0, 0, &[0], "/root"));
        assert_eq!(found("1000"), user(7, 7, &[7], "/seven"), "a name, though it looks like a number");
        assert_eq!(found("last:short"), user(11, 50, &[50], "/last"));
        assert_eq!(found("homeless").home, "/");
        assert_eq!(look_up("5:6", b"", b"").unwrap(), user(5, 6, &[6], "/"), "an image without the files");
    }

    #[test]
    fn what_nobody_is_called_is_an_error() {
        for text in ["", ":", "app:", ":app", "app:www:x", "::"] {
            assert!(refused(text).contains("is not a user"), "{text:?}");
        }
        for text in [
            "App",
            "app ",
            " app",
            "-1",
            "+5",
            "4294967295",
            "99999999999",
            "junk",
            "bad",
            "cut",
            "+nis",
            "+",
            "big",
            "neg",
            "wide",
            "# comment",
            "0x10",
            "1_000",
        ] {
            assert!(refused(text).contains("there is no user"), "{text:?}");
        }
        for text in ["app:nogroup", "app:-1", "app:bad", "app:wwz", "5:4294967295"] {
            assert!(refused(text).contains("there is no group"), "{text:?}");
        }
    }
}
