//! The real binary, against a server that says what it is told to.

#[cfg(test)]
mod common;
#[cfg(test)]
mod context;
#[cfg(test)]
mod input;
#[cfg(test)]
mod output;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod run;
#[cfg(test)]
mod trust;
