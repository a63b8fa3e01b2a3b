//! The CLI on a real server.

mod aws;
mod dotenv;
mod odd;
mod regions;
mod rollout;
mod stack;
mod wild;
