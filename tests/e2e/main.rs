//! The three programs together, on real input.

mod docker_simpleapp;
mod regions;
mod simpleapp;
