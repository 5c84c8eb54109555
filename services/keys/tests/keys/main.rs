//! The keys service: class keys from one hospital to the people of another, and the process itself.

#[cfg(test)]
mod classes;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod process;
