//! Leaves the unwind tables out of the small build; see docs/decisions/0005-entrypoint-size.md.

use std::env;

fn main() {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    println!("cargo:rerun-if-changed=no-unwind-tables.ld");
    // `opt-level = "z"` is the mark of the profile `entrypoint`; a build that can unwind keeps what it needs for that.
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("OPT_LEVEL", "z") {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{directory}/no-unwind-tables.ld");
    }
}
