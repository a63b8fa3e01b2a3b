//! The CLI on a real server.

mod dotenv;
mod regions;
mod stack;
