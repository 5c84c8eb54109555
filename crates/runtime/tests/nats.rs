//! The bus over a real nats-server with the accounts and permissions that `contracts::nats` writes.
//!
//! Needs `.tools/bin/nats-server` (`scripts/setup.sh`) or one on the PATH; without it each test says
//! "skipped", or fails when `CONSILIUM_REQUIRE_TEST_DATA=1`.

#[cfg(test)]
mod harness;

use consilium_contracts::Participant::{Audit, Consensus, Ingest, Keys, Validate};
use consilium_contracts::v1::{HeadRequest, HeadResponse};
use consilium_runtime::{BusError, Incoming};
use harness::{Server, eventually, node};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_across_accounts() {
    let Some(server) = Server::start(&["a", "b", "c"]) else { return };
    let (a, b) = (node(&server, "a", Ingest).await, node(&server, "b", Validate).await);
    let subject = b.subjects.validate_attest();
    b.bus
        .serve(&subject, Some("validate"), 4, |incoming: Incoming| async move {
            let mut answer = incoming.payload.clone();
            answer.reverse();
            answer
        })
        .await
        .unwrap();
    let answer = a.bus.request(&subject, vec![1, 2, 3], SOON).await.unwrap();
    assert_eq!(answer, [3, 2, 1]);
    // Where no validate runs, here or in another account, that is said at once.
    let c = a.subjects.at(&consilium_domain::OrgId::new("c").unwrap());
    for subject in [a.subjects.validate_attest(), c.validate_attest()] {
        let nobody = a.bus.request(&subject, vec![], SOON).await;
        assert!(matches!(nobody, Err(BusError::NoResponder(_))), "{nobody:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_megabytes_travel_both_ways_across_accounts() {
    let Some(server) = Server::start(&["a", "b"]) else { return };
    let (a, b) = (node(&server, "a", Ingest).await, node(&server, "b", Ingest).await);
    let subject = b.subjects.ingest_exchange();
    b.bus
        .serve(&subject, Some("ingest"), 4, |incoming: Incoming| async move {
            let mut answer = incoming.payload.clone();
            answer.reverse();
            answer
        })
        .await
        .unwrap();
    let payload: Vec<u8> = (0..3 * 1024 * 1024_u32).map(|i| (i % 251) as u8).collect();
    let mut expected = payload.clone();
    expected.reverse();
    let many = (0..4).map(|_| a.bus.request(&subject, payload.clone(), SOON));
    for answer in futures::future::join_all(many).await {
        assert!(answer.unwrap() == expected);
    }
    let over = a.bus.request(&subject, vec![0; 64 * 1024 * 1024 + 1], SOON).await;
    assert!(matches!(over, Err(BusError::TooLarge { .. })), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_reaches_every_member_and_only_consensus() {
    let Some(server) = Server::start(&["a", "b", "c"]) else { return };
    let (a, b, c) = (
        node(&server, "a", Consensus).await,
        node(&server, "b", Consensus).await,
        node(&server, "c", Consensus).await,
    );
    let all = a.subjects.consensus_gossip_of_all();
    let mut at_a = a.bus.subscribe_all(&all, None).await.unwrap();
    let mut at_b = b.bus.subscribe_all(&all, None).await.unwrap();
    let mut at_c = c.bus.subscribe_all(&all, None).await.unwrap();
    let large = vec![7; 700 * 1024];
    for payload in [vec![1], large] {
        a.bus.publish(&a.subjects.consensus_gossip(), payload.clone()).await.unwrap();
        for listener in [&mut at_a, &mut at_b, &mut at_c] {
            let got = tokio::time::timeout(SOON, listener.next()).await.unwrap().unwrap();
            assert_eq!(got.subject, "consilium.north.a.consensus.gossip");
            assert!(got.payload == payload);
            assert!(!got.wants_reply());
        }
    }
    let audit = node(&server, "b", Audit).await;
    for subject in &all {
        assert!(matches!(audit.bus.subscribe(subject, None).await, Err(BusError::Forbidden(_))));
    }
    let forged = b.bus.publish(&a.subjects.consensus_gossip(), vec![1]).await;
    assert!(matches!(forged, Err(BusError::Forbidden(_))), "{forged:?}");
}

/// The server itself refuses, also a client that does not ask our own table first.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_what_is_not_granted() {
    let Some(server) = Server::start(&["a", "b"]) else { return };
    let keys = node(&server, "a", Keys).await;
    let subject = keys.subjects.keys_class();
    keys.bus.serve(&subject, None, 1, |_: Incoming| async { vec![1] }).await.unwrap();
    let ingest = node(&server, "a", Ingest).await;
    assert_eq!(ingest.bus.request(&subject, vec![], SOON).await.unwrap(), [1]);

    for (organisation, participant) in [("a", Audit), ("b", Ingest)] {
        let (client, mut errors) = server.raw(organisation, participant).await;
        let short = async_nats::Request::new().timeout(Some(Duration::from_millis(500)));
        assert!(client.send_request(subject.to_string(), short).await.is_err());
        if organisation == "a" {
            let error = tokio::time::timeout(SOON, errors.recv()).await.unwrap().unwrap();
            assert!(error.to_lowercase().contains("permissions violation"), "{error}");
        }
    }
    // Nobody listens at another service's replies, blobs or requests.
    let (client, mut errors) = server.raw("a", Audit).await;
    for listened in
        ["_INBOX.ingest.>", "consilium.north.a.blob.ingest.*", "consilium.north.a.keys.class", ">"]
    {
        let _subscription = client.subscribe(listened.to_owned()).await.unwrap();
        let error = tokio::time::timeout(SOON, errors.recv()).await.unwrap().unwrap();
        assert!(error.to_lowercase().contains("permissions violation"), "{listened}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_group_shares_and_a_closed_member_is_skipped() {
    let Some(server) = Server::start(&["a"]) else { return };
    let (one, two) = (node(&server, "a", Validate).await, node(&server, "a", Validate).await);
    let ingest = node(&server, "a", Ingest).await;
    let subject = one.subjects.validate_check();
    for (validate, mark) in [(&one, 1_u8), (&two, 2)] {
        validate
            .bus
            .serve(&subject, Some("validate"), 1, move |_: Incoming| async move { vec![mark] })
            .await
            .unwrap();
    }
    let mut seen = [0_u32; 3];
    for _ in 0..40 {
        let answer = ingest.bus.request(&subject, vec![], SOON).await.unwrap();
        seen[usize::from(answer[0])] += 1;
    }
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
    one.shutdown.trigger();
    eventually(|| async {
        let answers = futures::future::join_all(
            (0..20).map(|_| ingest.bus.request(&subject, vec![], Duration::from_secs(2))),
        );
        answers.await.into_iter().all(|answer| answer == Ok(vec![2]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_comes_back_after_the_server() {
    let Some(mut server) = Server::start(&["a"]) else { return };
    let consensus = node(&server, "a", Consensus).await;
    let audit = node(&server, "a", Audit).await;
    let subject = consensus.subjects.consensus_head();
    consensus
        .bus
        .serve_messages(&subject, None, 1, |_: HeadRequest| async {
            HeadResponse { height: 7, ..HeadResponse::default() }
        })
        .await
        .unwrap();
    server.stop();
    eventually(|| async { !audit.bus.is_ready() && !audit.health.readiness().0 }).await;
    let lost = audit.bus.request(&subject, vec![], Duration::from_millis(300)).await;
    assert_eq!(lost, Err(BusError::Disconnected));
    assert_eq!(
        audit.bus.publish(&audit.subjects.consensus_head(), vec![]).await,
        Err(BusError::Disconnected)
    );
    server.restart();
    // Begun while the server is away, answered when it is back.
    let head: HeadResponse =
        audit.bus.request_message(&subject, &HeadRequest {}, Duration::from_secs(20)).await.unwrap();
    assert_eq!(head.height, 7);
    assert!(audit.health.readiness().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_start_before_the_server() {
    let Some(mut server) = Server::start(&["a"]) else { return };
    server.stop();
    let early = harness::unready_node(&server, "a", Consensus).await;
    assert!(!early.bus.is_ready());
    let subject = early.subjects.consensus_head();
    early.bus.serve(&subject, None, 1, |_: Incoming| async { vec![9] }).await.unwrap();
    server.restart();
    let audit = node(&server, "a", Audit).await;
    tokio::time::timeout(SOON, early.bus.ready()).await.unwrap();
    assert_eq!(audit.bus.request(&subject, vec![], SOON).await.unwrap(), [9]);
}
