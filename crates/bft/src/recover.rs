//! The start of a height, fresh or out of the write-ahead log.

use crate::context::{CoreInput, Members};
use crate::input::Recovery;
use crate::output::Poisoned;
use crate::rotation::Rotation;
use crate::step::{Held, State};
use crate::wal;
use consilium_domain::block::ValidatorSet;
use std::collections::BTreeSet;

impl State {
    pub(crate) fn start_height(
        &mut self,
        height: u64,
        validators: &ValidatorSet,
        rotation: &Rotation,
        participate: bool,
        recovery: Recovery,
    ) -> Result<(), Poisoned> {
        let current = self.shell.height;
        if height <= current || (self.core.is_some() && !self.shell.decided) {
            return Err(Poisoned::Order { asked: height, current });
        }
        let channel = &self.shell.config.channel;
        let members = Members::new(validators, rotation, channel, height)
            .map_err(|e| Poisoned::Validators(height, e))?;
        let mut entries = Vec::new();
        for entry in &recovery.wal {
            let (of, input) = wal::decode(entry).map_err(|e| Poisoned::Log(height, e.to_string()))?;
            if of != height {
                return Err(Poisoned::Log(height, format!("an entry is of height {of}")));
            }
            entries.push(input);
        }
        self.shell.begin(height, members);
        // Addresses are places in the set of a height, so each height gets a new core.
        self.new_core(participate);
        self.restore_bodies(&recovery, &entries)?;
        self.replay(recovery, entries)?;
        self.drain()?;
        self.feed_ahead();
        self.shell.watch_for_lag();
        Ok(())
    }

    fn restore_bodies(&mut self, recovery: &Recovery, entries: &[CoreInput]) -> Result<(), Poisoned> {
        let height = self.shell.height;
        for recovered in &recovery.bodies {
            if let Some(id) = (self.shell.config.identify)(&recovered.body) {
                let (round, proposer) = (recovered.built_for.unwrap_or(0), self.shell.me);
                let held = Held { body: recovered.body.clone(), round, proposer, verdict: Some(true) };
                self.shell.held.insert(id, held);
                if let Some(round) = recovered.built_for {
                    self.shell.built.insert(round, id);
                }
            }
        }
        let mut logged: BTreeSet<_> = self.shell.built.values().copied().collect();
        for input in entries {
            if let CoreInput::ProposedValue(value, _) = input {
                if value.validity.is_valid() {
                    logged.insert(value.value.0);
                }
                match self.shell.held.get_mut(&value.value.0) {
                    Some(held) => held.proposer = value.proposer,
                    None if value.validity.is_valid() => {
                        return Err(Poisoned::MissingBody(value.value.0, height));
                    }
                    None => {}
                }
            }
        }
        // A body whose verdict did not reach the log is unknown to the core: it must be judged again.
        self.shell.held.retain(|id, _| logged.contains(id));
        Ok(())
    }

    /// Index, start, feed, end of index; only then is a wanted value answered. Nothing that the log holds is
    /// logged again, but votes that the replay signs for the first time are.
    fn replay(&mut self, recovery: Recovery, entries: Vec<CoreInput>) -> Result<(), Poisoned> {
        for input in &entries {
            self.shell.remember_signed(input);
            if let CoreInput::Proposal(proposal) = input {
                let round = crate::wire::round_number(proposal.message.round);
                self.shell.proposals.entry(round).or_default().push(proposal.clone());
            }
        }
        let start = self.start_input();
        if entries.is_empty() {
            return self.feed(start);
        }
        self.shell.replaying = Some(recovery.wal.into_iter().collect::<BTreeSet<_>>());
        if let Some(core) = self.core.as_mut() {
            core.index_wal_entries(&entries);
        }
        self.feed(start)?;
        if let Some(core) = self.core.as_mut() {
            core.record_recovered_own_precommit_extensions(&entries);
        }
        for input in entries {
            self.feed(input)?;
        }
        self.shell.replaying = None;
        let Some(core) = self.core.as_mut() else { return Ok(()) };
        core.reset_entries_index();
        if core.driver.step_is_propose() {
            self.shell.answer_value();
        } else {
            self.shell.wanted = None;
        }
        Ok(())
    }
}
