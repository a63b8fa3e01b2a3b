//! The real binary, against a server that says what it is told to.

mod common;
mod context;
mod input;
mod output;
mod round_trip;
mod run;
mod trust;
