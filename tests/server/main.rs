//! The server under its worst enemies: kill -9, an editor of its database, and a generator of requests.

mod changes;
mod destroy;
mod durability;
mod killed;
mod long_poll;
mod openapi;
mod outages;
mod references;
mod surface;
mod tamper;
