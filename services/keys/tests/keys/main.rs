//! The keys service: class keys from one hospital to the people of another, and the process itself.

#[cfg(test)]
mod classes;
#[cfg(test)]
mod envelopes;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod members;
#[cfg(test)]
mod officers;
#[cfg(test)]
mod process;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod trail;
