//! What follows a decision and need not delay the next one, on a thread of its own: proofs for those who wait, and
//! the deletion of state and blocks that nobody can ask for any more.

use crate::chain::{Chain, ChainError, prove};
use crate::mempool::{Fate, Waiting};
use crate::prune::Keep;
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::merkle::Levels;
use consilium_domain::{Digest, Height};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// Heights whose state can be read; older nodes of the tree are deleted.
const KEPT_STATES: u64 = 256;
/// Blocks whose replaced state is deleted at a time.
const PRUNE_AT_ONCE: usize = 4;

/// A block and who waits for its transactions, by their place in it.
pub struct Decided {
    pub block: Block,
    /// Leaf hashes of its transactions.
    pub leaves: Vec<Digest>,
    pub certificate: CommitCertificate,
    pub waiting: Vec<(usize, Waiting)>,
}

/// The thread's door. Dropping it ends the thread once all who wait are answered.
#[derive(Debug, Clone)]
pub struct Aftermath(Sender<Decided>);

impl Aftermath {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(chain: Arc<Chain>, keep: Keep) -> std::io::Result<Self> {
        let (sender, inbox) = channel();
        let thread = std::thread::Builder::new().name("aftermath".to_owned());
        thread.spawn(move || follow(&chain, &keep, &inbox))?;
        Ok(Self(sender))
    }

    pub fn of(&self, decided: Decided) {
        // The thread lives as long as there is a sender.
        let _ = self.0.send(decided);
    }
}

fn follow(chain: &Chain, keep: &Keep, inbox: &Receiver<Decided>) {
    let mut dirty = false;
    let (mut height, mut swept) = (0, Vec::new());
    loop {
        // Answers first; the broom only when nobody waits.
        let next =
            if dirty { inbox.try_recv() } else { inbox.recv().map_err(|_| TryRecvError::Disconnected) };
        match next {
            Ok(decided) => {
                height = decided.block.header.height.0;
                dirty = height > KEPT_STATES;
                if let Err(error) = answer(chain, decided) {
                    // Who waits asks again and is answered by the door.
                    tracing::error!(%error, "a proof could not be made");
                }
            }
            Err(TryRecvError::Empty) => {
                let oldest = Height(height.saturating_sub(KEPT_STATES));
                let state = chain.prune(&mut swept, oldest, PRUNE_AT_ONCE);
                match state.and_then(|more| Ok(keep.step(chain, height)? || more)) {
                    Ok(more) => dirty = more,
                    Err(error) => {
                        tracing::warn!(%error, "old state or blocks were not deleted");
                        dirty = false;
                    }
                }
            }
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

fn answer(chain: &Chain, decided: Decided) -> Result<(), ChainError> {
    let Decided { block, leaves, certificate, waiting } = decided;
    if waiting.is_empty() {
        return Ok(());
    }
    let changes = chain.view()?.changes_before(block.header.height)?;
    let tree = Levels::new(leaves);
    for (index, answers) in waiting {
        for answer in answers {
            if let Some(proof) = prove(&block, &tree, &certificate, index, &changes) {
                // Nobody listens any more if the wait was over.
                let _ = answer.send(Fate::Committed(Box::new(proof)));
            }
        }
    }
    Ok(())
}
