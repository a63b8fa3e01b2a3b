//! Variables that change what the loader, a shell or a language runtime runs.
//!
//! A store that can set `LD_PRELOAD` can run code in every container that reads it, so whoever places variables refuses
//! these, unless it was told to let them through.

/// Variables that make a program run other code, look elsewhere for it, or give away its keys. A store that many may
/// write to must not become a way to run code everywhere, so the bundle sets them only where the container allows it.
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

/// Whether a variable of this name needs to be allowed by name before it is set for a program.
#[must_use]
pub fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_shells_and_runtimes_are_named_and_ordinary_variables_are_not() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "IFS",
            "NODE_OPTIONS",
            "PYTHONPATH",
            "GIT_SSH_COMMAND",
        ] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["DATABASE_URL", "PATH_PREFIX", "ENVIRONMENT", "HOMEPAGE", "LDAP_URL", "RAILS_ENV"] {
            assert!(!is_dangerous(name), "{name}");
        }
    }
}
