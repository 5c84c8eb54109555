//! Class keys from one hospital to the people of another.

use crate::harness::{UNSEAL, World, files, write_authority};
use consilium_contracts::Participant;
use consilium_contracts::v1::{
    AppendRequest, AppendResponse, Claims, ClassRequest, ClassResponse, OpenRequest, OpenResponse,
    PolicyRequest,
};
use consilium_keys::{Keys, KeysError, Worker};
use consilium_runtime::Service;
use std::time::Duration;

pub const CLASS: [u8; 32] = [0xc1; 32];

pub mod ask {
    use super::*;

    pub fn class(policy: &str, epoch: u64) -> ClassRequest {
        ClassRequest { class_id: CLASS.to_vec(), epoch, policy: policy.to_owned() }
    }

    /// Another class than [`CLASS`]; its id is filled up to 16 octets.
    pub fn class_of(id: &[u8], policy: &str) -> ClassRequest {
        let mut class_id = id.to_vec();
        class_id.resize(class_id.len().max(16), 0);
        ClassRequest { class_id, epoch: 0, policy: policy.to_owned() }
    }

    pub fn change(policy: &str, rotate: bool) -> PolicyRequest {
        PolicyRequest { class_id: CLASS.to_vec(), policy: policy.to_owned(), rotate }
    }

    pub fn open(class: &ClassResponse, subject: &str, roles: &[&str]) -> OpenRequest {
        OpenRequest {
            custodian: "a".to_owned(),
            class_id: CLASS.to_vec(),
            epoch: class.epoch,
            header: class.header.clone(),
            claims: Some(Claims {
                subject: subject.to_owned(),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            }),
        }
    }

    pub fn code(worker: &Worker, request: &OpenRequest) -> &'static str {
        worker.open(request).map_or_else(|error| error.code(), |_| "opened")
    }
}

#[test]
fn whoever_has_the_attribute_opens_the_class_and_nobody_else() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let class = a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    assert_eq!((class.epoch, class.kek.len()), (1, 32));

    let request = ask::open(&class, "dr-x", &["practitioner", "unmapped"]);
    assert_eq!(b.open(&request).unwrap().kek, class.kek);
    assert_eq!(a.open(&request).unwrap().kek, class.kek, "the custodian's own people too");
    for roles in [&[][..], &["unmapped"], &["on-call"], &["clinician"]] {
        assert_eq!(ask::code(&b, &ask::open(&class, "dr-x", roles)), "denied", "{roles:?}");
    }
    // A role withdrawn since is not served from memory.
    assert_eq!(ask::code(&b, &ask::open(&class, "dr-x", &[])), "denied");

    let both = a.policy(&ask::change("clinician@b AND duty=emergency@b", true)).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&both, "dr-x", &["practitioner"])), "denied");
    assert_eq!(b.open(&ask::open(&both, "dr-x", &["practitioner", "on-call"])).unwrap().kek, both.kek);
}

#[test]
fn a_header_opens_for_its_own_class_epoch_and_custodian_only() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let class = a.class(&ask::class("clinician@b", 0)).unwrap();
    let good = ask::open(&class, "dr-x", &["practitioner"]);
    assert_eq!(ask::code(&b, &good), "opened");
    let other_class = OpenRequest { class_id: vec![0xc2; 32], ..good.clone() };
    let other_epoch = OpenRequest { epoch: 2, ..good.clone() };
    let other_custodian = OpenRequest { custodian: "b".to_owned(), ..good.clone() };
    for request in [other_class, other_epoch, other_custodian] {
        assert_eq!(ask::code(&b, &request), "denied");
    }
    for custodian in ["c", "", "A B"] {
        let request = OpenRequest { custodian: custodian.to_owned(), ..good.clone() };
        assert_eq!(ask::code(&b, &request), "invalid", "{custodian}");
    }
    for subject in ["", "dr x", "dr-\u{fc}"] {
        assert_eq!(ask::code(&b, &ask::open(&class, subject, &["practitioner"])), "invalid", "{subject}");
    }
    for cut in [0, 1, 2, 6, 100, class.header.len() - 1] {
        let request = OpenRequest { header: class.header[..cut].to_vec(), ..good.clone() };
        assert_eq!(ask::code(&b, &request), "invalid", "cut at {cut}");
    }
    for index in (0..class.header.len()).step_by(37) {
        let mut header = class.header.clone();
        header[index] ^= 0x10;
        let code = ask::code(&b, &OpenRequest { header, ..good.clone() });
        assert!(["denied", "invalid"].contains(&code), "byte {index}: {code}");
    }
}

#[test]
fn a_policy_changes_with_or_without_a_new_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let first = a.class(&ask::class("clinician@b", 0)).unwrap();
    let again = a.class(&ask::class("clinician@a", 0)).unwrap();
    assert_eq!(first, again, "a class that exists keeps its policy");

    let rewrapped = a.policy(&ask::change("clinician@a", false)).unwrap();
    assert_eq!((rewrapped.epoch, &rewrapped.kek, rewrapped.policy.as_str()), (1, &first.kek, "clinician@a"));
    assert_eq!(ask::code(&b, &ask::open(&rewrapped, "dr-x", &["practitioner"])), "denied");
    let rotated = a.policy(&ask::change("clinician@a", true)).unwrap();
    assert_eq!(rotated.epoch, 2);
    assert_ne!(rotated.kek, first.kek);
    assert_eq!(a.class(&ask::class("", 0)).unwrap(), rotated);
    assert_eq!(a.class(&ask::class("", 1)).unwrap(), rewrapped, "old records stay readable");

    assert!(matches!(a.class(&ask::class("", 3)), Err(KeysError::UnknownEpoch)));
    let unknown = ClassRequest { class_id: vec![9; 32], ..ask::class("", 0) };
    assert!(matches!(a.class(&unknown), Err(KeysError::UnknownClass)));
    for policy in ["clinician@c", "clinician@", "(", "not a policy"] {
        let error = a.policy(&ask::change(policy, true)).unwrap_err();
        assert_eq!(error.code(), "invalid", "{policy}: {error}");
    }
    assert_eq!(a.class(&ask::class("", 0)).unwrap(), rotated, "a refused change changes nothing");
    let short = ClassRequest { class_id: vec![9; 15], ..ask::class("clinician@a", 0) };
    assert_eq!(a.class(&short).unwrap_err().code(), "invalid");
}

#[test]
fn what_is_on_disk_is_sealed_and_survives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let a = world.worker("a");
    let class = a.class(&ask::class("clinician@b", 0)).unwrap();
    assert!(world.worker_with("a", "", UNSEAL).is_err(), "a vault has one owner");
    drop(a);
    let folder = world.folder.join("a");
    let sealed: Vec<_> = files(&folder).into_iter().filter(|path| !path.ends_with("lock")).collect();
    assert_eq!(sealed.len(), 3, "authority, post-quantum key and one class: {sealed:?}");
    for path in &sealed {
        let bytes = std::fs::read(path).unwrap();
        let shows = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!shows(&class.kek) && !shows(b"clinician") && !shows(&class.header[40..72]), "{path:?}");
    }
    assert_eq!(world.worker("a").class(&ask::class("", 0)).unwrap(), class);

    let other_key = UNSEAL.replace('6', "7");
    assert!(world.worker_with("a", "", &other_key).is_err(), "another unseal key opens nothing");
    let file = sealed.iter().find(|path| path.to_string_lossy().contains("classes")).unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let error = world.worker("a").class(&ask::class("clinician@a", 0)).unwrap_err();
    assert_eq!(error.code(), "unavailable", "a damaged class is not made anew: {error}");
}

#[test]
fn an_authority_that_is_not_the_one_of_the_genesis_does_not_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let rng = &mut consilium_testkit::seeded(99);
    let (_, stranger) = consilium_abe::authority::setup(rng, "north", "a").unwrap();
    write_authority(&world.folder.join("a"), &stranger);
    let error = world.worker_with("a", "", UNSEAL).err().unwrap().to_string();
    assert!(error.contains("not the one whose public key is in the genesis"), "{error}");
    std::fs::remove_file(world.folder.join("b").join("authority.sealed")).unwrap();
    let error = world.worker_with("b", "", UNSEAL).err().unwrap().to_string();
    assert!(error.contains("make the authority first"), "{error}");
}

#[test]
fn one_caller_cannot_open_without_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let a = world.worker_with("a", "[limits]\nopens_per_minute = 3", UNSEAL).unwrap();
    let class = a.class(&ask::class("clinician@a", 0)).unwrap();
    let request = ask::open(&class, "dr-x", &["practitioner"]);
    let codes: Vec<_> = (0..4).map(|_| ask::code(&a, &request)).collect();
    assert_eq!(codes, ["opened", "opened", "opened", "rate-limited"]);
    assert_eq!(ask::code(&a, &ask::open(&class, "dr-y", &["practitioner"])), "opened");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(ask::code(&a, &request), "opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_asks_over_the_bus() {
    let world = World::new();
    let (keys, ingest) = (world.kit("a", Participant::Keys), world.kit("a", Participant::Ingest));
    let (_, config) = world.config("a", "");
    let service = tokio::spawn(Keys::run(config, keys.clone()));
    for _ in 0..200 {
        if keys.health.readiness().1.contains("vault: ready") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let soon = Duration::from_secs(10);
    let request = ask::class("clinician@a OR clinician@b", 0);
    // Sixteen at once: the class is made once.
    let subject = ingest.subjects.keys_class();
    let asked = (0..16).map(|_| ingest.bus.request_message::<_, ClassResponse>(&subject, &request, soon));
    let answers: Vec<_> = futures::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.failure.is_none()));
    let open = ask::open(&answers[0], "dr-x", &["practitioner"]);
    let opened: OpenResponse =
        ingest.bus.request_message(&ingest.subjects.keys_open(), &open, soon).await.unwrap();
    assert_eq!(opened.kek, answers[0].kek);
    let nurse = ask::open(&answers[0], "nurse", &[]);
    let refused: OpenResponse =
        ingest.bus.request_message(&ingest.subjects.keys_open(), &nurse, soon).await.unwrap();
    assert_eq!(refused.failure.unwrap().code, "denied");
    assert!(refused.kek.is_empty());
    // Both uses are on disk although no audit service was there; it gets them when it comes.
    let spooled = files(&world.folder.join("a").join("spool"));
    assert!(!spooled.is_empty());
    let audit = world.kit("a", Participant::Audit);
    let (sender, mut appended) = tokio::sync::mpsc::unbounded_channel();
    audit
        .bus
        .serve_messages(&audit.subjects.audit_append(), None, 1, move |request: AppendRequest| {
            let sender = sender.clone();
            async move {
                request.events.into_iter().for_each(|event| sender.send(event).unwrap());
                AppendResponse::default()
            }
        })
        .await
        .unwrap();
    let mut next = async || {
        let event = tokio::time::timeout(Duration::from_secs(40), appended.recv()).await.unwrap().unwrap();
        serde_json::from_slice::<serde_json::Value>(&event).unwrap()
    };
    let event = next().await;
    assert_eq!(event["subtype"][0]["code"], "keys-unsealed");
    assert_eq!(event["entity"][0]["what"]["identifier"]["value"], "key-file");
    for outcome in ["0", "4"] {
        let event = next().await;
        assert_eq!(event["outcome"], outcome);
        assert_eq!(event["subtype"][0]["code"], "key-opened");
        assert_eq!(event["entity"][0]["what"]["identifier"]["value"], format!("a/{}/1", hex::encode(CLASS)));
    }
    for _ in 0..200 {
        if files(&world.folder.join("a").join("spool")).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(files(&world.folder.join("a").join("spool")).is_empty(), "what audit has is not kept here");
    keys.shutdown.trigger();
    service.await.unwrap().unwrap();
    assert!(
        keys.meter
            .text()
            .contains("consilium_keys_operations_total{operation=\"class\",outcome=\"done\"} 16")
    );
}
