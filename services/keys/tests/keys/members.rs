//! The members' authority keys change while everybody runs: a key is rotated, a member leaves and comes back.

use crate::classes::ask;
use crate::harness::{UNSEAL, World, copy};
use consilium_contracts::v1::{ClassResponse, OpenRequest};
use consilium_domain::genesis::Member;
use consilium_keys::Worker;
use consilium_keys::class::ClassHeader;
use consilium_runtime::Followed;

/// Two hospitals, and what each believes the members to be.
struct Pair {
    world: World,
    members: Followed<Vec<Member>>,
    a: Worker,
    b: Worker,
}

impl Pair {
    fn new(settings: impl Fn(&World) -> String) -> Self {
        let world = World::new();
        let settings = settings(&world);
        let members = Followed::new(world.genesis.members.clone());
        let worker = |name| world.worker_among(name, &settings, UNSEAL, &members).unwrap();
        let (a, b) = (worker("a"), worker("b"));
        Self { world, members, a, b }
    }

    /// The ledger names this key for `b`.
    fn rotate(&self, public: &[u8]) {
        let mut members = self.members.get().to_vec();
        members[1].authority = public.to_vec();
        self.members.set(members);
    }

    fn opens(&self, class: &ClassResponse) -> Result<(), &'static str> {
        let request = ask::open(class, "dr-x", &["practitioner"]);
        match self.b.open(&request) {
            Ok(answer) => {
                assert_eq!(answer.kek, class.kek);
                Ok(())
            }
            Err(error) => Err(error.code()),
        }
    }
}

fn policy(class: &ClassResponse) -> String {
    ClassHeader::decode(&class.header).unwrap().policy().to_string()
}

#[test]
fn after_a_rotation_new_and_old_classes_open_for_the_new_key_and_not_for_the_old_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let pair = Pair::new(|_| String::new());
    let Pair { world, a, b, .. } = &pair;
    let before = a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    pair.opens(&before).unwrap();
    // Somebody copies the hospital's disk, and has its unseal key.
    copy(&world.folder.join("b"), &world.folder.join("stolen"));

    let public = b.prepare_authority().unwrap();
    assert_eq!(b.prepare_authority().unwrap(), public, "one key waits, however often it is asked for");
    let waiting = a.class(&ask::class("", 0)).unwrap();
    assert_eq!(waiting.header, before.header, "a key that no ledger names changes nothing");
    pair.opens(&waiting).unwrap();

    pair.rotate(&public);
    let other = OpenRequest { class_id: vec![0xc7; 32], ..ask::open(&before, "dr-y", &["practitioner"]) };
    assert_eq!(ask::code(b, &other), "denied");
    let late = ask::open(&before, "dr-late", &["practitioner"]);
    assert_eq!(b.open(&late).unwrap().kek, before.kek, "a header that was on its way");
    let after = a.class(&ask::class("", 0)).unwrap();
    assert_ne!(after.header, before.header, "the old class has a header of the new key");
    assert_eq!(after.kek, before.kek);
    pair.opens(&after).unwrap();
    assert_eq!(a.class(&ask::class("", 0)).unwrap().header, after.header, "once");
    let new = a.policy(&ask::change("clinician@b", true)).unwrap();
    pair.opens(&new).unwrap();

    // The thief has the old key: with the old list of members and with the new one.
    std::fs::rename(world.folder.join("b"), world.folder.join("b-real")).unwrap();
    std::fs::rename(world.folder.join("stolen"), world.folder.join("b")).unwrap();
    let error = world.worker_among("b", "", UNSEAL, &pair.members).err().unwrap().to_string();
    assert!(error.contains("not the one"), "{error}");
    let thief = world.worker_with("b", "", UNSEAL).unwrap();
    assert_eq!(ask::code(&thief, &ask::open(&new, "dr-x", &["practitioner"])), "denied");
    assert_eq!(ask::code(&thief, &ask::open(&before, "dr-x", &["practitioner"])), "opened", "the control");
}

#[test]
fn a_rotated_vault_starts_with_the_list_that_names_its_key_and_with_no_other() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let pair = Pair::new(|_| String::new());
    let public = pair.b.prepare_authority().unwrap();
    pair.rotate(&public);
    let Pair { world, members, a, b, .. } = pair;
    // Ended before it heard of it, then again after.
    drop(b);
    for _ in 0..2 {
        let b = world.worker_among("b", "", UNSEAL, &members).unwrap();
        let class = a.class(&ask::class("clinician@b", 0)).unwrap();
        assert_eq!(b.open(&ask::open(&class, "dr-x", &["practitioner"])).unwrap().kek, class.kek);
        assert_ne!(b.prepare_authority().unwrap(), public, "the next rotation has a key of its own");
    }
    let error = world.worker_with("b", "", UNSEAL).err().unwrap().to_string();
    assert!(error.contains("not the one whose public key is in the genesis or on the ledger"), "{error}");
}

#[test]
fn who_has_left_opens_nothing_that_is_sealed_since_and_who_is_back_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let pair = Pair::new(|_| String::new());
    let Pair { world, members, a, b, .. } = &pair;
    let before = a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    let own = b.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    let all = world.genesis.members.clone();
    members.set(all[..1].to_vec());
    // The custodian goes on with whoever is left, in the week's header and in a new epoch.
    let left = a.class(&ask::class("", 0)).unwrap();
    assert_eq!(left.kek, before.kek);
    assert!(!policy(&left).contains("@b"), "{}", policy(&left));
    let rotated = a.policy(&ask::change("clinician@a OR clinician@b", true)).unwrap();
    assert!(!policy(&rotated).contains("@b"), "{}", policy(&rotated));
    assert_eq!(pair.opens(&left), Err("denied"));
    assert_eq!(pair.opens(&rotated), Err("denied"));
    let nobody = a.class(&ask::class_of(&[5; 20], "clinician@b")).unwrap_err();
    assert_eq!(nobody.code(), "invalid", "{nobody}");
    // Nothing of theirs is opened here either; at home they read on.
    let theirs = OpenRequest { custodian: "b".to_owned(), ..ask::open(&own, "dr-x", &["practitioner"]) };
    assert_eq!(ask::code(a, &theirs), "invalid");
    assert_eq!(b.class(&ask::class("", 0)).unwrap().kek, own.kek);

    members.set(all);
    let again = a.class(&ask::class("", 0)).unwrap();
    assert!(policy(&again).contains("@b"));
    pair.opens(&again).unwrap();
    let epoch_one = a.class(&ask::class("", 1)).unwrap();
    pair.opens(&epoch_one).unwrap();
}

#[test]
fn a_key_that_cannot_be_used_is_its_owners_trouble_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let pair = Pair::new(|_| String::new());
    let before = pair.a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    let other = pair.world.genesis.members[0].authority.clone();
    for key in [Vec::new(), vec![7; 700], other] {
        pair.rotate(&key);
        let class = pair.a.class(&ask::class("", 0)).unwrap();
        assert_eq!(class.kek, before.kek);
        assert!(!policy(&class).contains("@b"), "{}", policy(&class));
    }
    pair.rotate(&pair.world.genesis.members[1].authority.clone());
    pair.opens(&pair.a.class(&ask::class("", 0)).unwrap()).unwrap();
}

#[test]
fn a_new_members_second_lock_opens_when_its_key_file_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let folder = std::sync::OnceLock::new();
    let pair = Pair::new(|world| {
        let path = folder.get_or_init(|| world.publish_post_quantum());
        format!("[post_quantum]\nkeys_dir = \"{}\"", path.display())
    });
    let file = folder.get().unwrap().join("b.pub");
    let public = std::fs::read(&file).unwrap();
    // A hospital that starts without b, which joins later and whose file comes later still.
    let all = pair.members.get().to_vec();
    let settings = format!("[post_quantum]\nkeys_dir = \"{}\"", folder.get().unwrap().display());
    let mut world = World::new();
    world.genesis = pair.world.genesis.clone();
    world.genesis.members.truncate(1);
    std::fs::remove_dir_all(world.folder.join("a")).unwrap();
    copy(&pair.world.folder.join("a"), &world.folder.join("a"));
    std::fs::remove_file(&file).unwrap();
    let members = Followed::new(world.genesis.members.clone());
    let a = world.worker_among("a", &settings, UNSEAL, &members).unwrap();
    a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    members.set(all);
    let without = a.class(&ask::class("", 0)).unwrap();
    assert!(policy(&without).contains("@b"));
    assert_eq!(pair.opens(&without), Err("denied"), "nothing of the second lock for b");
    std::fs::write(&file, public).unwrap();
    let with = a.class(&ask::class("", 0)).unwrap();
    pair.opens(&with).unwrap();
}
