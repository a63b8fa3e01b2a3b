//! Tests of the e2e, to come.
