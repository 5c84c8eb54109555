//! What an operator sees (`consilium_consensus_…`).

use consilium_runtime::{Counter, Gauge, Histogram, Meter, MeterError};
use std::time::Duration;

#[derive(Clone)]
pub struct Metrics {
    height: Gauge,
    blocks: Counter,
    transactions: Counter,
    interval: Histogram,
    pub round: Gauge,
    pub rounds: Counter,
    pub mempool: Gauge,
    pub lag: Gauge,
    pub finality: Histogram,
    pub missed: Counter,
    pub evidence: Counter,
    pub refused: Counter,
    pub syncs: Counter,
    pub dropped: Counter,
    pub gaps: Counter,
    pub delivered: Counter,
}

impl Metrics {
    pub fn new(meter: &Meter) -> Result<Self, MeterError> {
        Ok(Self {
            height: meter.gauge("height", "height of the newest block", &[])?,
            blocks: meter.counter("blocks_total", "blocks committed by this process", &[])?,
            transactions: meter.counter("transactions_total", "transactions committed", &[])?,
            interval: meter.histogram("block_interval_seconds", "time between two commits", &[])?,
            round: meter.gauge("round", "round of the present height", &[])?,
            rounds: meter.counter("further_rounds_total", "rounds after the first of a height", &[])?,
            mempool: meter.gauge("mempool", "transactions that wait for a block", &[])?,
            lag: meter.gauge("sync_lag_blocks", "blocks that a member has and this node has not", &[])?,
            finality: meter.histogram(
                "finality_seconds",
                "time from a transaction's arrival here to its block, of the first of each block",
                &[],
            )?,
            missed: meter.counter(
                "missed_proposals_total",
                "rounds that ended without a block of their proposer",
                &["organisation"],
            )?,
            evidence: meter.counter("evidence_total", "self-contradictions of validators", &["validator"])?,
            refused: meter.counter("refused_blocks_total", "proposed blocks found unacceptable", &[])?,
            syncs: meter.counter("sync_requests_total", "blocks asked of peers", &[])?,
            dropped: meter.counter(
                "dropped_messages_total",
                "messages that found a full queue",
                &["kind"],
            )?,
            gaps: meter.counter(
                "gaps_total",
                "times that gossip may have been lost on the way here, each followed by a look at who is ahead",
                &["why"],
            )?,
            delivered: meter.counter(
                "gossip_delivered_total",
                "signed messages of a member, of those looked at, by the hub that handed them over",
                &["from", "via"],
            )?,
        })
    }

    pub(crate) fn at(&self, height: u64) {
        self.height.set(&[], height as f64);
    }

    pub(crate) fn committed(&self, height: u64, transactions: usize, interval: Duration) {
        self.at(height);
        self.blocks.inc(&[]);
        self.transactions.add(&[], u64::try_from(transactions).unwrap_or(0));
        self.interval.observe(&[], interval);
    }
}
