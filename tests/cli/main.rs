//! The CLI on a real server.

mod dotenv;
mod stack;
