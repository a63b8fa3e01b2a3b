//! Tests of the cli, to come.
