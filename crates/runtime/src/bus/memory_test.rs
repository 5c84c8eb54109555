use crate::config::Common;
use crate::{Answer, BusError, Entropy, Incoming, Kit, MemoryHub, SystemClock};
use consilium_contracts::Participant::{self, Audit, Consensus, Ingest, Keys, Validate};
use consilium_contracts::v1::{HeadRequest, HeadResponse};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn kit(hub: &MemoryHub, organisation: &str, participant: Participant) -> Kit {
    let text = format!(
        r#"
        organisation = {{ name = "{organisation}", channel = "north" }}
        bus = {{ url = "nats://x:1", user = "u", password_file = "p", blob_limit = 4000000 }}
        health = {{ listen = "127.0.0.1:0" }}
        "#
    );
    let common: Common = toml::from_str(&text).unwrap();
    Kit::in_memory(hub, participant, common, Arc::new(SystemClock::new()), Entropy::system()).unwrap()
}

#[tokio::test]
async fn large_payloads_are_fetched_whole_or_refused() {
    let hub = MemoryHub::new();
    let (a, b) = (kit(&hub, "a", Ingest), kit(&hub, "b", Ingest));
    let subject = b.subjects.ingest_exchange();
    b.bus
        .serve(&subject, Some("ingest"), 2, |incoming: Incoming| async move { incoming.payload.clone() })
        .await
        .unwrap();
    for size in [0, 1, super::INLINE_LIMIT, super::INLINE_LIMIT + 1, 3_000_001, 4_000_000] {
        let payload: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
        let answer = a.bus.request(&subject, payload.clone(), SOON).await.unwrap();
        assert!(answer == payload, "{size} bytes");
    }
    let over = a.bus.request(&subject, vec![0; 4_000_001], SOON).await;
    assert_eq!(over, Err(BusError::TooLarge { size: 4_000_001, limit: 4_000_000 }));
    assert_eq!(a.bus.0.offered.bytes(), 0, "an answered request's payload is not kept");
}

#[tokio::test]
async fn an_offer_that_names_another_subject_is_not_followed() {
    use super::message::{BLOB, Headers, Raw};
    use consilium_contracts::Message;
    use consilium_contracts::v1::BlobOffer;
    let hub = MemoryHub::new();
    let (a, b) = (kit(&hub, "a", Ingest), kit(&hub, "b", Ingest));
    let subject = b.subjects.ingest_exchange();
    b.bus
        .serve(&subject, None, 2, |incoming: Incoming| async move { incoming.payload.clone() })
        .await
        .unwrap();
    let own = a.subjects.blob(Ingest, "x");
    let keys = kit(&hub, "b", Keys);
    let mut asked = keys.bus.subscribe(&keys.subjects.keys_class(), None).await.unwrap();
    let offer = BlobOffer { subject: own.to_string(), id: vec![1; 16], size: 600_000, sha256: vec![2; 32] };
    let wrong = [
        BlobOffer { subject: b.subjects.keys_class().to_string(), ..offer.clone() },
        BlobOffer { size: u64::MAX, ..offer.clone() },
        BlobOffer { id: vec![], ..offer.clone() },
        // Its maker does not have it.
        offer,
    ];
    for offer in wrong {
        let mut headers = Headers::default();
        headers.insert(BLOB, "1");
        let raw = Raw { subject: subject.to_string(), reply: None, headers, payload: offer.encode_to_vec() };
        let answer = hub.request(raw, SOON).await.unwrap();
        assert_eq!(answer.headers.get("consilium-error"), Some("blob-unavailable"));
    }
    let none = tokio::time::timeout(Duration::from_millis(100), asked.next()).await;
    assert!(none.is_err(), "an offer made us ask the keys service");
    assert_eq!(a.bus.request(&subject, vec![5], SOON).await.unwrap(), [5], "the listener goes on");
}

#[tokio::test]
async fn nobody_publishes_anothers_large_payload_as_its_own() {
    use super::message::Raw;
    let hub = MemoryHub::new();
    let [a, b, c] = ["a", "b", "c"].map(|org| kit(&hub, org, Consensus));
    let mut gossip = c.bus.subscribe_all(&c.subjects.consensus_gossip_of_all(), None).await.unwrap();
    let payload = vec![7; super::INLINE_LIMIT + 1];
    let (raw, _offer) = b.bus.outgoing(&b.subjects.consensus_gossip(), payload.clone()).unwrap();
    let (headers, offer) = (raw.headers.clone(), raw.payload.clone());
    let stolen =
        Raw { subject: a.subjects.consensus_gossip().to_string(), reply: None, headers, payload: offer };
    hub.publish(stolen).unwrap();
    hub.publish(raw).unwrap();
    let got = tokio::time::timeout(SOON, gossip.next()).await.unwrap().unwrap();
    assert_eq!(got.subject, b.subjects.consensus_gossip().to_string());
    assert!(got.payload == payload);
    let more = tokio::time::timeout(Duration::from_millis(300), gossip.next()).await;
    assert!(more.is_err(), "a sends what is b's");
}

#[tokio::test]
async fn permissions_are_those_of_the_table() {
    let hub = MemoryHub::new();
    let (a, audit) = (kit(&hub, "a", Ingest), kit(&hub, "a", Audit));
    let forbidden = |outcome: Result<Vec<u8>, BusError>| matches!(outcome, Err(BusError::Forbidden(_)));
    assert!(forbidden(audit.bus.request(&a.subjects.keys_class(), vec![], SOON).await));
    assert!(forbidden(a.bus.request("consilium.north.*.ingest.exchange", vec![], SOON).await));
    assert!(audit.bus.subscribe(&a.subjects.ingest_exchange(), None).await.is_err());
    assert!(audit.bus.subscribe(">", None).await.is_err());
    let nobody = a.bus.request(&a.subjects.keys_class(), vec![], SOON).await;
    assert_eq!(nobody, Err(BusError::NoResponder(a.subjects.keys_class().to_string())));
}

#[tokio::test]
async fn a_handler_that_fails_harms_only_its_own_request() {
    let hub = MemoryHub::new();
    let (validate, ingest) = (kit(&hub, "a", Validate), kit(&hub, "a", Ingest));
    let subject = validate.subjects.validate_check();
    validate
        .bus
        .serve(&subject, Some("validate"), 1, |incoming: Incoming| async move {
            match incoming.payload.as_slice() {
                [0] => panic!("on purpose"),
                [1] => Answer::Refused("odd"),
                [2] => Answer::Payload(vec![0; 4_000_001]),
                _ => Answer::Payload(vec![7]),
            }
        })
        .await
        .unwrap();
    for (payload, code) in [(0, "internal"), (1, "odd"), (2, "answer-too-large")] {
        let refused = ingest.bus.request(&subject, vec![payload], SOON).await;
        assert_eq!(refused, Err(BusError::Remote(code.to_owned())));
    }
    assert_eq!(ingest.bus.request(&subject, vec![9], SOON).await.unwrap(), [7]);
}

#[tokio::test]
async fn shutdown_answers_what_has_arrived_and_takes_no_more() {
    let hub = MemoryHub::new();
    let (consensus, audit) = (kit(&hub, "a", Consensus), kit(&hub, "a", Audit));
    let subject = consensus.subjects.consensus_head();
    consensus
        .bus
        .serve_messages(&subject, None, 1, |_: HeadRequest| async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            HeadResponse { height: 3, ..HeadResponse::default() }
        })
        .await
        .unwrap();
    let head = HeadRequest {};
    let asked = (0..5).map(|_| audit.bus.request_message::<_, HeadResponse>(&subject, &head, SOON));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        consensus.shutdown.trigger();
        assert!(consensus.shutdown.drained(SOON).await);
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(asked), stop);
    assert!(answers.into_iter().all(|answer| answer.unwrap().height == 3));
    let late = audit.bus.request(&subject, vec![], SOON).await;
    assert!(matches!(late, Err(BusError::NoResponder(_))), "{late:?}");
    let garbage = audit.bus.request(&subject, vec![0xff], SOON).await;
    assert!(garbage.is_err());
}

#[tokio::test]
async fn what_does_not_decode_is_refused() {
    let hub = MemoryHub::new();
    let (consensus, audit) = (kit(&hub, "a", Consensus), kit(&hub, "a", Audit));
    let subject = consensus.subjects.consensus_head();
    consensus
        .bus
        .serve_messages(&subject, None, 1, |_: HeadRequest| async { HeadResponse::default() })
        .await
        .unwrap();
    let refused = audit.bus.request(&subject, vec![0xff], SOON).await;
    assert_eq!(refused, Err(BusError::Remote("undecodable".to_owned())));
}

/// Two hubs: every request is answered once as far as its sender can tell, and handled once by each process.
#[tokio::test]
async fn copies_are_handled_once_and_answered_all() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let hub = MemoryHub::new();
    hub.deliver_twice();
    let (a, b) = (kit(&hub, "a", Ingest), kit(&hub, "b", Ingest));
    let subject = b.subjects.ingest_exchange();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    b.bus
        .serve(&subject, Some("ingest"), 4, move |incoming: Incoming| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { incoming.payload.clone() }
        })
        .await
        .unwrap();
    for size in [1, super::INLINE_LIMIT + 1, 3_000_000] {
        for _ in 0..5 {
            let answer = a.bus.request(&subject, vec![7; size], SOON).await.unwrap();
            assert!(answer == vec![7; size], "{size} bytes");
        }
    }
    assert_eq!(handled.load(Ordering::SeqCst), 15);
    assert_eq!(b.bus.0.metrics.copies.value(&["ingest.exchange"]), 15);
    // The same payload again is another message.
    let [from, to] = ["a", "b"].map(|org| kit(&hub, org, Consensus));
    let across = to.bus.subscribe_all(&to.subjects.consensus_gossip_of_all(), None).await.unwrap();
    let inside = b.bus.subscribe(&b.subjects.consensus_committed(), None).await.unwrap();
    for _ in 0..3 {
        from.bus.publish(&from.subjects.consensus_gossip(), vec![1]).await.unwrap();
        to.bus.publish(&to.subjects.consensus_committed(), vec![1]).await.unwrap();
    }
    for mut listener in [across, inside] {
        for _ in 0..3 {
            assert_eq!(tokio::time::timeout(SOON, listener.next()).await.unwrap().unwrap().payload, [1]);
        }
        let more = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
        assert!(more.is_err(), "a copy was handed on");
    }
}

/// A flood: what is lost is counted for the listener that lost it, and others lose nothing.
#[tokio::test]
async fn a_listener_that_does_not_keep_up_knows_what_it_lost() {
    let hub = MemoryHub::new();
    let [a, b] = ["a", "b"].map(|org| kit(&hub, org, Consensus));
    let mut slow = b.bus.subscribe_all(&b.subjects.consensus_gossip_of_all(), None).await.unwrap();
    let audit = kit(&hub, "a", Audit);
    let mut other = audit.bus.subscribe(&a.subjects.consensus_committed(), None).await.unwrap();
    let mut lost = slow.lost();
    lost.mark_unchanged();
    for _ in 0..super::queue::CAPACITY + 7 {
        a.bus.publish(&a.subjects.consensus_gossip(), vec![1]).await.unwrap();
    }
    a.bus.publish(&a.subjects.consensus_committed(), vec![2]).await.unwrap();
    tokio::time::timeout(SOON, lost.changed()).await.unwrap().unwrap();
    assert_eq!(*lost.borrow_and_update(), 7);
    assert_eq!(b.bus.0.metrics.slow.value(&["consensus.gossip"]), 7);
    for _ in 0..super::queue::CAPACITY {
        assert_eq!(slow.next().await.unwrap().payload, [1]);
    }
    a.bus.publish(&a.subjects.consensus_gossip(), vec![3]).await.unwrap();
    assert_eq!(slow.next().await.unwrap().payload, [3], "what comes after the flood arrives");
    assert_eq!(other.next().await.unwrap().payload, [2]);
    assert_eq!(*other.lost().borrow(), 0);
    // Large ones are bounded by their bytes.
    let _ = lost.borrow_and_update();
    for _ in 0..600 {
        a.bus.publish(&a.subjects.consensus_gossip(), vec![0; super::INLINE_LIMIT]).await.unwrap();
    }
    tokio::time::timeout(SOON, lost.changed()).await.unwrap().unwrap();
}
