//! `chandlery-entrypoint`: see the library's page.

fn main() {
    chandlery_entrypoint::run();
}
