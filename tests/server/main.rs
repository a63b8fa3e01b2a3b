//! The server under its worst enemies: kill -9, an editor of its database, and a generator of requests.

mod durability;
mod openapi;
mod outages;
mod surface;
mod tamper;
