//! The port on TiKV's transactions: a batch is one transaction, a view is a timestamp.
//!
//! **One writer.** A record beside the pairs, the fence, holds the number of the writer. Opening the store adds one to it;
//! every batch reads it, refuses unless it is still its own, and writes it again. So two transactions of different
//! writers always conflict: the second opener wins, and the first one's next batch fails.
//!
//! **Values** begin with an octet of ours: servers of the protocol differ on whether an empty value is a value.
//!
//! **Retries.** A batch only puts and deletes, and nobody else writes. Applied twice it leaves the same pairs, so it is
//! tried again after *every* failure, also where it may have been committed already.

use super::Place;
use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use std::fmt::Display;
use std::future::Future;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tikv_client::{
    Backoff, BoundRange, CheckLevel, Config, RetryOptions, Snapshot, Timestamp, Transaction,
    TransactionClient as Client, TransactionOptions,
};
use tokio::runtime::{Builder, Handle, Runtime};

/// Longest key, without the prefix: TiKV takes 4 KiB with all that it adds.
const MAX_KEY: usize = 2_048;
/// Largest value: TiKV refuses what does not fit one entry of its Raft log (8 MiB unless configured).
const MAX_VALUE: usize = 6 * 1024 * 1024;
/// First octet of every value.
const VALUE: u8 = 1;
/// Most octets of a batch. Beyond, its locks could expire before all of it is written.
const MAX_BATCH: usize = 64 * 1024 * 1024;
/// Largest answer that is taken.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
/// Pairs asked for at a time: the first number, and bounds of what follows.
const PAGE: u32 = 64;
const PAGES: (usize, usize) = (16, 2_048);
/// Octets that a page should have.
const FULL: usize = 2 * 1024 * 1024;
/// Longest wait for one request, for one operation with its retries, and between two tries.
const REQUEST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// A store in a TiKV cluster.
pub struct TikvKv {
    store: Store,
    /// The number under which this process writes.
    writer: u64,
    /// Two batches at once would conflict with each other.
    writing: Mutex<()>,
    runtime: Option<Runtime>,
}

/// What reading needs.
#[derive(Clone)]
struct Store {
    client: Client,
    handle: Handle,
    prefix: Arc<[u8]>,
}

fn failed(error: impl Display) -> KvError {
    KvError(format!("TiKV: {error}"))
}

/// Waits for as long as the lock of a writer that has died lives (20 s at most).
fn options() -> TransactionOptions {
    let region = Backoff::no_jitter_backoff(2, 500, 20);
    let lock = Backoff::no_jitter_backoff(2, 500, 50);
    TransactionOptions::new_optimistic()
        .retry_options(RetryOptions { region_backoff: region, lock_backoff: lock })
        .drop_check(CheckLevel::None)
}

/// Runs to its end on the store's own threads, whatever thread asks: the port is synchronous.
fn wait<T: Send + 'static>(
    handle: &Handle,
    work: impl Future<Output = Result<T, KvError>> + Send + 'static,
) -> Result<T, KvError> {
    let (send, result) = sync_channel(1);
    handle.spawn(async move {
        // Whoever asked is waiting.
        let _ = send.send(work.await);
    });
    result.recv().unwrap_or_else(|_| Err(failed("the client has ended")))
}

impl Store {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, &b"\0pair"[..], key].concat()
    }

    fn fence(&self) -> Vec<u8> {
        [&self.prefix, &b"\0fence"[..]].concat()
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        let asked = tokio::time::timeout(REQUEST, self.client.current_timestamp()).await;
        asked.map_err(|_| failed("no timestamp in time"))?.map_err(failed)
    }

    /// A new one for every question: it remembers all that it reads.
    fn at(&self, moment: &Timestamp) -> Snapshot {
        self.client.snapshot(moment.clone(), options())
    }

    async fn get(self, moment: Option<Timestamp>, key: Vec<u8>) -> Result<Option<Vec<u8>>, KvError> {
        let moment = self.moment(moment).await?;
        Ok(self.at(&moment).get(key).await.map_err(failed)?.and_then(value))
    }

    async fn moment(&self, given: Option<Timestamp>) -> Result<Timestamp, KvError> {
        match given {
            Some(moment) => Ok(moment),
            None => self.now().await,
        }
    }

    /// The pair without what is ours in it; `None` where there is no value.
    fn bare(&self, pair: tikv_client::KvPair) -> Result<Option<Pair>, KvError> {
        let key = Vec::from(pair.0);
        let skip = self.prefix.len() + b"\0pair".len();
        let key = key.get(skip..).ok_or_else(|| failed("a key of another store"))?.to_vec();
        Ok(value(pair.1).map(|value| (key, value)))
    }

    async fn scan(
        self,
        moment: Option<Timestamp>,
        mut from: Vec<u8>,
        to: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        let moment = self.moment(moment).await?;
        let (mut out, mut page) = (Vec::new(), PAGE);
        while out.len() < limit {
            let ask = u32::try_from(limit - out.len()).unwrap_or(page).min(page);
            let range = BoundRange::from(from..to.clone());
            let found: Vec<_> = self.at(&moment).scan(range, ask).await.map_err(failed)?.collect();
            let octets: usize = found.iter().map(|p| p.1.len()).sum();
            let count = found.len();
            let last = found.last().filter(|_| count == ask as usize).map(|p| Vec::from(p.0.clone()));
            for pair in found {
                out.extend(self.bare(pair)?);
            }
            let Some(last) = last else { break };
            // The next key after the last one.
            from = [last.as_slice(), &[0]].concat();
            let fits = FULL * count / octets.max(1);
            page = u32::try_from(fits.clamp(PAGES.0, PAGES.1)).unwrap_or(PAGE);
        }
        Ok(out)
    }

    /// By forward scans alone: unistore answers a backward scan as of now, whatever moment it is asked about. Mostly the
    /// range fits a page; otherwise it is halved until what is left does.
    async fn last(
        self,
        moment: Option<Timestamp>,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> Result<Option<Pair>, KvError> {
        let moment = Some(self.moment(moment).await?);
        let scan = async |from: &[u8], to: &[u8], limit: usize| {
            self.clone().scan(moment.clone(), from.to_vec(), to.to_vec(), limit).await
        };
        // The next key after the last one that counts.
        let (mut low, mut high) = (from, [to.as_slice(), &[0]].concat());
        let mut found = scan(&low, &high, PAGE as usize).await?;
        if found.len() == PAGE as usize {
            while let Some(middle) = middle(&low, &high) {
                match scan(&middle, &high, 1).await?.pop() {
                    Some((key, _)) => low = self.key(&key),
                    None => high = middle,
                }
            }
            found = scan(&low, &high, usize::MAX).await?;
        }
        Ok(found.pop())
    }

    async fn begin(&self) -> Result<Transaction, KvError> {
        let begun = tokio::time::timeout(REQUEST, self.client.begin_with_options(options())).await;
        begun.map_err(|_| failed("no timestamp in time"))?.map_err(failed)
    }

    /// Adds one to the fence: from now on nobody writes under an older number.
    async fn take_over(&self) -> Result<u64, KvError> {
        let mut tx = self.begin().await?;
        let writer = number(tx.get(self.fence()).await.map_err(failed)?)?.saturating_add(1);
        tx.put(self.fence(), writer.to_be_bytes().to_vec()).await.map_err(failed)?;
        commit(tx).await?;
        Ok(writer)
    }

    /// One try; `false` where another process has taken the store over.
    async fn apply(&self, batch: &[Write], writer: u64) -> Result<bool, KvError> {
        let mut tx = self.begin().await?;
        if number(tx.get(self.fence()).await.map_err(failed)?)? != writer {
            return Ok(false);
        }
        // First, and so the primary key: whoever takes over meets its lock and settles this transaction's fate.
        tx.put(self.fence(), writer.to_be_bytes().to_vec()).await.map_err(failed)?;
        for write in batch {
            match write {
                Write::Put(key, value) => tx.put(self.key(key), [&[VALUE], value.as_slice()].concat()).await,
                Write::Delete(key) => tx.delete(self.key(key)).await,
            }
            .map_err(failed)?;
        }
        commit(tx).await?;
        Ok(true)
    }
}

/// A key half-way between two, as far as sixteen octets tell; `None` where they are next to each other.
fn middle(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let same = low.iter().zip(high).take_while(|(l, h)| l == h).count();
    let number = |key: &[u8]| {
        let digits = key.iter().skip(same).copied().chain(std::iter::repeat(0)).take(16);
        digits.fold(0_u128, |sum, digit| sum << 8 | u128::from(digit))
    };
    let (l, h) = (number(low), number(high));
    let middle = l + h.checked_sub(l)? / 2;
    (middle > l).then(|| [low.get(..same).unwrap_or_default(), &middle.to_be_bytes()].concat())
}

/// What is behind our octet.
fn value(mut kept: Vec<u8>) -> Option<Vec<u8>> {
    (!kept.is_empty()).then(|| kept.split_off(1))
}

fn number(fence: Option<Vec<u8>>) -> Result<u64, KvError> {
    let Some(bytes) = fence.filter(|f| !f.is_empty()) else { return Ok(0) };
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| failed("a fence of another version"))
}

async fn commit(mut tx: Transaction) -> Result<(), KvError> {
    match tx.commit().await {
        Ok(_) => Ok(()),
        // No rollback: it may be committed. Locks that are left expire, or the next try settles them.
        Err(error) => Err(failed(error)),
    }
}

/// Tries until it succeeds or patience is over.
async fn insist<T, F>(work: impl Fn() -> F) -> Result<T, KvError>
where
    F: Future<Output = Result<T, KvError>>,
{
    let mut last = failed("no answer in time");
    let tries = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    last = error;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(PATIENCE, tries).await {
        Ok(done) => Ok(done),
        Err(_) => Err(last),
    }
}

/// Whether TiKV takes the batch at all.
fn fits(batch: &[Write]) -> Result<(), KvError> {
    let mut total = 0_usize;
    for write in batch {
        let (key, value) = match write {
            Write::Put(key, value) => (key.len(), value.len()),
            Write::Delete(key) => (key.len(), 0),
        };
        if !(1..=MAX_KEY).contains(&key) {
            return Err(failed(format!("a key of {key} bytes: it has 1 to {MAX_KEY}")));
        }
        if value > MAX_VALUE {
            return Err(failed(format!("a value of {value} bytes: at most {MAX_VALUE}")));
        }
        total = total.saturating_add(key + value);
    }
    if total > MAX_BATCH {
        return Err(failed(format!("a batch of {total} bytes: at most {MAX_BATCH}")));
    }
    Ok(())
}

impl TikvKv {
    /// Opens the store and takes it over.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub fn open(place: &Place) -> Result<Self, KvError> {
        if place.prefix.is_empty() || place.prefix.contains('\0') {
            return Err(failed("a prefix is not empty and has no zero octet"));
        }
        let mut config =
            Config::default().with_timeout(REQUEST).with_grpc_max_decoding_message_size(MAX_ANSWER);
        if let Some(tls) = &place.tls {
            config = config.with_security(&tls.ca, &tls.cert, &tls.key);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("tikv")
            .enable_all()
            .build()
            .map_err(failed)?;
        let (handle, pd) = (runtime.handle().clone(), place.pd.clone());
        let prefix = Arc::from(place.prefix.as_bytes());
        let opened = {
            let handle = handle.clone();
            wait(&runtime.handle().clone(), async move {
                let connect =
                    async || Client::new_with_config(pd.clone(), config.clone()).await.map_err(failed);
                let client = insist(connect).await?;
                let store = Store { client, handle, prefix };
                let writer = insist(async || store.take_over().await).await?;
                Ok((store, writer))
            })
        };
        let runtime = Some(runtime);
        match opened {
            Ok((store, writer)) => Ok(Self { store, writer, writing: Mutex::new(()), runtime }),
            Err(error) => {
                stop(runtime);
                Err(error)
            }
        }
    }

    fn read(&self) -> View {
        View { store: self.store.clone(), moment: None }
    }
}

/// May be called where blocking is not allowed.
fn stop(runtime: Option<Runtime>) {
    if let Some(runtime) = runtime {
        runtime.shutdown_background();
    }
}

impl Drop for TikvKv {
    fn drop(&mut self) {
        stop(self.runtime.take());
    }
}

/// The store at a timestamp; without one, at that of each question.
struct View {
    store: Store,
    moment: Option<Timestamp>,
}

impl KvView for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let (store, moment, key) = (self.store.clone(), self.moment.clone(), self.store.key(key));
        wait(
            &self.store.handle,
            async move { insist(|| store.clone().get(moment.clone(), key.clone())).await },
        )
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let (store, moment) = (self.store.clone(), self.moment.clone());
        let (from, to) = (store.key(from), store.key(to));
        wait(&self.store.handle, async move {
            insist(|| store.clone().scan(moment.clone(), from.clone(), to.clone(), limit)).await
        })
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        if from > to {
            return Ok(None);
        }
        let (store, moment) = (self.store.clone(), self.moment.clone());
        let (from, to) = (store.key(from), store.key(to));
        wait(&self.store.handle, async move {
            insist(|| store.clone().last(moment.clone(), from.clone(), to.clone())).await
        })
    }
}

impl Kv for TikvKv {
    fn view(&self) -> Result<Box<dyn KvView>, KvError> {
        let store = self.store.clone();
        let moment = wait(&self.store.handle, async move { insist(async || store.now().await).await })?;
        Ok(Box::new(View { store: self.store.clone(), moment: Some(moment) }))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.read().get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        self.read().scan(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        self.read().last(from, to)
    }

    /// Durable always: TiKV answers once a majority has it on disk.
    fn write(&self, batch: &[Write], _durable: bool) -> Result<(), KvError> {
        fits(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (store, batch, writer) = (self.store.clone(), Arc::<[Write]>::from(batch), self.writer);
        let written = wait(&self.store.handle, async move { insist(|| store.apply(&batch, writer)).await })?;
        if written {
            Ok(())
        } else {
            Err(failed("another process has opened this store: this one may not write any more"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_lies_between_and_ends() {
        for (low, high) in [
            (b"a".to_vec(), b"z".to_vec()),
            (b"tile\0\0".to_vec(), b"tile\0\x01".to_vec()),
            (b"k\0".to_vec(), [&b"k"[..], &[0xff; 8], &[0]].concat()),
        ] {
            for up in [true, false] {
                let (mut low, mut high, mut steps) = (low.clone(), high.clone(), 0);
                while let Some(middle) = middle(&low, &high) {
                    assert!(low < middle && middle < high);
                    if up {
                        low = middle
                    } else {
                        high = middle
                    }
                    steps += 1;
                    assert!(steps <= 128);
                }
            }
        }
        assert_eq!(middle(b"a", b"a"), None);
    }

    #[test]
    fn what_tikv_would_refuse_is_refused_before_it_is_sent() {
        let put = |key: usize, value: usize| Write::Put(vec![1; key], vec![1; value]);
        assert!(fits(&[put(1, 0), put(MAX_KEY, MAX_VALUE), Write::Delete(vec![1])]).is_ok());
        let text = |batch: &[Write]| fits(batch).unwrap_err().to_string();
        assert!(text(&[put(0, 1)]).contains("a key of 0 bytes"));
        assert!(text(&[put(MAX_KEY + 1, 1)]).contains("a key of 2049 bytes"));
        assert!(text(&[put(1, MAX_VALUE + 1)]).contains("a value of"));
        assert!(text(&vec![put(1, MAX_VALUE); 11]).contains("a batch of"));
    }
}
