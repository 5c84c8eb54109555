//! What the process asks of the kernel before it touches a key.

use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump (getrlimit(2), RLIMIT_CORE), and no other process of the same user may read this one's memory
/// (prctl(2), PR_SET_DUMPABLE; it also closes /proc/PID/mem). Not undone: a debugger that needs more is started
/// by root.
pub fn process() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("core dumps cannot be turned off")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("the process cannot be made undumpable")
}
