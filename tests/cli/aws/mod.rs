//! `chandlery aws` on real programs, with moto as AWS and faults put in between.

mod away;
mod endpoints;
mod faults;
mod import;
mod many;
mod page;
mod push;
mod references;
mod rules;
