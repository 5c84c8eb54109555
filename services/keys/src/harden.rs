//! What the process asks of the kernel before it touches a key.

use anyhow::Context;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// No core dump (getrlimit(2), RLIMIT_CORE), and no other process of the same user may read this one's memory
/// (prctl(2), PR_SET_DUMPABLE; it also closes /proc/PID/mem). Not undone: a debugger that needs more is started
/// by root.
pub fn process() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("core dumps cannot be turned off")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("the process cannot be made undumpable")
}

/// Why pages of this process may get to the swap device.
#[derive(Debug, thiserror::Error)]
pub enum NotLocked {
    #[error(
        "the limit of locked memory is {0} bytes and the process has not CAP_IPC_LOCK: \
         raise the limit to `unlimited` (RLIMIT_MEMLOCK), or see to it that the machine has no swap"
    )]
    Limit(u64),
    #[error("the kernel does not lock memory: {0}")]
    Refused(#[from] rustix::io::Errno),
}

/// Keeps every page of the process in memory as soon as it is touched (mlockall(2), MCL_ONFAULT): keys pass through
/// stacks, the heap and what libraries copy, so single pages would not do.
///
/// Under a limit that is merely large this would end the process later, at an allocation that exceeds it; so it is all
/// or nothing.
pub fn lock_memory() -> Result<(), NotLocked> {
    let privileged = capabilities(None)?.effective.contains(CapabilitySet::IPC_LOCK);
    match getrlimit(Resource::Memlock).current {
        Some(limit) if !privileged => Err(NotLocked::Limit(limit)),
        _ => Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?),
    }
}
