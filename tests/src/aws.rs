//! AWS Secrets Manager, as far as moto plays it: a real endpoint on loopback, and a proxy in front that counts what is
//! called, and plays the faults that AWS has and moto does not.

mod account;
mod client;
mod moto;
mod proxy;

pub use account::{Account, RULES};
pub use client::AwsClient;
pub use moto::Moto;
pub use proxy::{Fault, Proxy};
