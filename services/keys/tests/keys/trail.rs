//! What officers do leaves their names, the verb, the target and the outcome.

use crate::harness::World;
use crate::process::program::{free_port, post, wait};
use consilium_contracts::Participant;
use consilium_contracts::v1::{AppendRequest, AppendResponse};
use consilium_domain::PublicKey;
use consilium_domain::officers::motion_bytes;
use consilium_keys::Keys;
use consilium_runtime::Service;
use ed25519_consensus::SigningKey;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn key(octet: u8) -> SigningKey {
    SigningKey::from([octet; 32])
}

/// One approval over the door; status of the answer.
fn approve(world: &World, door: u16, motion: &Value, (name, octet): (&str, u8)) -> u16 {
    let (channel, a) = (&world.genesis.channel, &world.genesis.members[0].organisation);
    let text = |field: &str| motion[field].as_str().unwrap().to_owned();
    let id = text("id");
    let bytes = motion_bytes(channel, a, &id, motion["expires_ms"].as_u64().unwrap(), &text("action"));
    let signature = hex::encode(key(octet).sign(&bytes).to_bytes());
    let body = json!({"officer": name, "signature": signature});
    post(door, &format!("/v1/motions/{id}/approvals"), &body).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn motions_leave_who_what_about_what_and_how_it_ended() {
    let world = World::new();
    let (keys, audit) = (world.kit("a", Participant::Keys), world.kit("a", Participant::Audit));
    let events: Arc<Mutex<Vec<Value>>> = Arc::default();
    let into = Arc::clone(&events);
    let append = move |request: AppendRequest| {
        let taken = request.events.iter().map(|event| serde_json::from_slice(event).unwrap());
        into.lock().unwrap().extend(taken);
        std::future::ready(AppendResponse::default())
    };
    audit.bus.serve_messages(&audit.subjects.audit_append(), None, 1, append).await.unwrap();
    let door = free_port();
    let mut settings = format!("[admin]\nlisten = \"127.0.0.1:{door}\"\n");
    for (octet, name) in [(1, "ann"), (2, "bob")] {
        let public = PublicKey(key(octet).verification_key().to_bytes());
        settings.push_str(&format!("[[officer]]\nname = \"{name}\"\npublic_key = \"{public}\"\n"));
    }
    let (_, config) = world.config("a", &settings);
    let service = tokio::spawn(Keys::run(config, keys.clone()));
    let seen = Arc::clone(&events);
    tokio::task::spawn_blocking(move || {
        wait(|| keys.health.readiness().1.contains("vault: ready"));
        let propose = |action: Value| {
            let (status, motion) = post(door, "/v1/motions", &action);
            assert_eq!(status, 200, "{motion}");
            motion
        };
        let withdraw = propose(json!({"verb": "withdraw", "subject": "Practitioner/7", "role": "clinician"}));
        assert_eq!(approve(&world, door, &withdraw, ("ann", 2)), 403, "bob's key is not ann's");
        assert_eq!(approve(&world, door, &withdraw, ("ann", 1)), 200);
        let unknown = "ab".repeat(24);
        let destroy = propose(json!({
            "verb": "destroy", "scope": "class", "ground": "order", "classes": [unknown]
        }));
        assert_eq!(approve(&world, door, &destroy, ("bob", 2)), 200);
        assert_eq!(approve(&world, door, &destroy, ("ann", 1)), 404, "there is no such class");
        wait(|| seen.lock().unwrap().len() >= 7);
        keys.shutdown.trigger();
        drop(world);
    })
    .await
    .unwrap();
    service.await.unwrap().unwrap();

    let shown =
        |event: &Value, pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let told: Vec<[String; 5]> = events
        .lock()
        .unwrap()
        .iter()
        .map(|event| {
            [
                "/subtype/0/code",
                "/agent/0/who/identifier/value",
                "/entity/0/what/identifier/value",
                "/outcome",
                "/entity/0/detail/0/valueString",
            ]
            .map(|pointer| shown(event, pointer).unwrap_or_default())
        })
        .collect();
    let ids: Vec<String> = told.iter().map(|[.., target, _, _]| target.clone()).collect();
    let (withdraw, destroy) = (ids[1].clone(), ids[4].clone());
    assert!([&withdraw, &destroy].iter().all(|id| id.len() == 32), "{told:?}");
    let expected = [
        ["keys-unsealed", "keys", "key-file", "0", "ann bob"],
        ["keys-approve", "ann", &withdraw, "4", ""],
        ["keys-approve", "ann", &withdraw, "0", "withdraw"],
        ["keys-withdraw", "ann", "Practitioner/7 clinician", "0", ""],
        ["keys-approve", "bob", &destroy, "0", "destroy"],
        ["keys-approve", "ann", &destroy, "0", "destroy"],
        ["keys-destroy", "bob ann", "class of 1 classes", "4", ""],
    ];
    assert_eq!(told, expected.map(|event| event.map(str::to_owned)));
    let events = events.lock().unwrap();
    assert_eq!(events[1]["outcomeDesc"], "refused");
    assert_eq!(events[6]["outcomeDesc"], "not-found");
    assert!(events.iter().all(|event| event["source"]["observer"]["identifier"]["value"] == "a"));
}
