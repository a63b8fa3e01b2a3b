//! Tests of the entrypoint, to come.
