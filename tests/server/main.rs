//! Tests of the server, to come.
