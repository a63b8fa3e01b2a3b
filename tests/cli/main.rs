//! The CLI on a real server.

mod aws;
mod dotenv;
mod odd;
mod regions;
mod rollout;
mod ship;
mod stack;
mod wild;
