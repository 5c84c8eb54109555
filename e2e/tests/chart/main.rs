//! The chart, judged without a cluster: both helms lint and render it over a matrix of values, Kubernetes'
//! own schemas check every object strictly, and what a site reliability engineer would look for is asserted
//! on the rendered objects.
//!
//! YAML is read by PyYAML in set-up's private Python and handed over as JSON: no YAML crate is maintained
//! well enough to be worth a place in the version table, and kubernetes-validate brings PyYAML anyway.

#[cfg(test)]
mod config;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod hubs;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod network;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod strict;
