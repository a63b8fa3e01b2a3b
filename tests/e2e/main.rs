//! The three programs together, on real input.

mod demo;
mod docker_simpleapp;
mod identity;
mod nodes;
mod regions;
mod simpleapp;
mod stack_compose;
mod swarm_nodes;
