//! Leaves the unwind tables out of the small build, and packs its relocations; see docs/decisions/0005-entrypoint-size.md.

use std::env;
use std::process::Command;

fn main() {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    println!("cargo:rerun-if-changed=no-unwind-tables.ld");
    // `opt-level = "z"` is the mark of the profile `entrypoint`; a build that can unwind keeps what it needs for that.
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("OPT_LEVEL", "z") {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{directory}/no-unwind-tables.ld");
        // GNU ld packs them for x86 alone. The musl that comes with the compiler unpacks them at the start, from 1.2.4 on.
        if is("CARGO_CFG_TARGET_ARCH", "x86_64") && compiler_minor().is_some_and(|minor| minor >= FIRST_WITH_MUSL_1_2_5)
        {
            println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// Rust 1.93 brought musl from 1.2.3 to 1.2.5.
const FIRST_WITH_MUSL_1_2_5: u32 = 93;

/// The second part of the compiler's version.
fn compiler_minor() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split('.').nth(1)?.parse().ok()
}
