//! The three programs together, on real input.

mod demo;
mod docker_simpleapp;
mod global_stack;
mod identity;
mod machine;
mod nodes;
mod pods;
mod rails;
mod regions;
mod scaling;
mod simpleapp;
mod stack_careful;
mod stack_compose;
mod stack_socket;
mod swarm_nodes;
mod units;
