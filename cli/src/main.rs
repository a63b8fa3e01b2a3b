//! `chandlery`: the CLI for people and pipelines.

mod failure;
mod formats;
mod hygiene;
mod output;

fn main() {}
