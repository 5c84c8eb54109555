//! What follows when messages may have been lost on the way here: after a new connection, when this process did not
//! keep up with them, when the node's queue was full.

use crate::metrics::Metrics;
use crate::node::Event;
use consilium_runtime::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Rest after each look at who is ahead.
const REST: Duration = Duration::from_millis(200);
/// Until the node's full queue is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// Tells the node of each gap, at once or as soon as its queue has room.
pub(crate) async fn watch(
    mut lost: watch::Receiver<u64>,
    mut readied: watch::Receiver<u64>,
    queue: Arc<Notify>,
    events: SyncSender<Event>,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    loop {
        let why = tokio::select! {
            () = shutdown.wait() => return,
            changed = lost.changed() => changed.map(|()| "lost"),
            changed = readied.changed() => changed.map(|()| "connection"),
            () = queue.notified() => Ok("queue"),
        };
        // The other ends are gone.
        let Ok(why) = why else { return };
        metrics.gaps.inc(&[why]);
        loop {
            match events.try_send(Event::Missed) {
                Ok(()) => break,
                Err(TrySendError::Full(_)) => tokio::time::sleep(AGAIN).await,
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_runtime::Meter;
    use std::sync::mpsc::sync_channel;

    /// Also when the node's queue is full at first, which is when it matters most.
    #[tokio::test]
    async fn each_gap_reaches_the_node() {
        let metrics = Metrics::new(&Meter::new("consensus")).unwrap();
        let (events, inbox) = sync_channel(1);
        let (lost, readied, queue) = (watch::Sender::new(0), watch::Sender::new(0), Arc::new(Notify::new()));
        let (one, two, three) = (lost.subscribe(), readied.subscribe(), Arc::clone(&queue));
        events.send(Event::Pooled).unwrap();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(watch(one, two, three, events, metrics.clone(), shutdown.clone()));
        lost.send_modify(|n| *n += 5);
        while metrics.gaps.value(&["lost"]) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(inbox.recv().unwrap(), Event::Pooled));
        for (why, cause) in [("lost", None), ("connection", Some(0)), ("queue", Some(1))] {
            match cause {
                None => {}
                Some(0) => readied.send_modify(|n| *n += 1),
                Some(_) => queue.notify_one(),
            }
            let told = async {
                loop {
                    match inbox.try_recv() {
                        Ok(event) => return event,
                        Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                    }
                }
            };
            let told = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
            assert!(matches!(told, Event::Missed), "{why}: {told:?}");
            assert_eq!(metrics.gaps.value(&[why]), 1, "{why}");
        }
        shutdown.trigger();
        task.await.unwrap();
    }
}
