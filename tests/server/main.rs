//! The server under its worst enemies: kill -9, and an editor of its database.

mod durability;
