//! Names that a bundle must not set unless it is asked for by name.

/// Variables that make a program run other code, look elsewhere for it, or give away its keys: the entrypoint's list. A
/// test holds the two together.
const DANGEROUS: &[&str] = &[
    // The search for programs, and shells.
    "PATH",
    "HOME",
    "SHELL",
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASHOPTS",
    "SHELLOPTS",
    "CDPATH",
    "GLOBIGNORE",
    "PS4",
    "PROMPT_COMMAND",
    "ZDOTDIR",
    "FPATH",
    // The C library.
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_TRACE",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    // Languages.
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "PYTHONEXECUTABLE",
    "PERL5LIB",
    "PERL5OPT",
    "PERL5DB",
    "PERLLIB",
    "RUBYOPT",
    "RUBYLIB",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "CLASSPATH",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "LUA_INIT",
    "LUA_PATH",
    "LUA_CPATH",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "ERL_ZFLAGS",
    "DOTNET_STARTUP_HOOKS",
    "CORECLR_PROFILER_PATH",
    // Programs that other programs start.
    "EDITOR",
    "VISUAL",
    "PAGER",
    "BROWSER",
    "SSH_ASKPASS",
    // TLS.
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "SSLKEYLOGFILE",
];
/// Whole families of them.
const PREFIXES: &[&str] = &["LD_", "DYLD_", "GIT_SSH", "GIT_CONFIG", "GIT_EXEC", "GIT_ASKPASS", "GIT_EXTERNAL"];

pub(super) fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What a service may not set in its container, it may not set on a laptop either, and the reverse.
    #[test]
    fn the_entrypoint_has_the_same_list() {
        let entrypoint = include_str!("../../../../entrypoint/src/environ.rs");
        let list = |name: &str| -> BTreeSet<&str> {
            let (_, after) = entrypoint.split_once(&format!("const {name}: ")).unwrap();
            let (_, after) = after.split_once('=').unwrap();
            let (list, _) = after.split_once("];").unwrap();
            list.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(quoted).collect()
        };
        fn quoted(line: &str) -> impl Iterator<Item = &str> {
            line.split('"').skip(1).step_by(2)
        }
        assert_eq!(list("DANGEROUS"), DANGEROUS.iter().copied().collect());
        assert_eq!(list("DANGEROUS_PREFIXES"), PREFIXES.iter().copied().collect());
    }
}
