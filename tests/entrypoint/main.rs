//! The entrypoint in front of a real server, and in containers that allow it nothing.

mod containers;
mod dropin;
mod herd;
mod leaks;
mod roads;
mod signals;
mod waiting;
