use super::*;

fn subjects() -> Subjects {
    Subjects::new(ChannelId::new("north").unwrap(), OrgId::new("hospital-a").unwrap())
}

#[test]
fn the_table_and_the_builders_name_the_same_subjects() {
    let s = subjects();
    let mut table: Vec<Subject> = VERBS.iter().map(|v| s.of(v.owner, v.name)).collect();
    let mut built = built(&s);
    table.sort();
    built.sort();
    assert_eq!(table, built);
}

#[test]
fn the_readme_lists_exactly_the_table() {
    let readme = include_str!("../../../proto/README.md");
    let mut rows: Vec<(String, bool)> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `….")?.split_once('`'))
        .map(|(subject, rest)| (subject.to_owned(), rest.trim_end_matches(" |").ends_with("yes")))
        .filter(|(subject, _)| !subject.starts_with("blob."))
        .collect();
    let mut table: Vec<(String, bool)> =
        VERBS.iter().map(|v| (format!("{}.{}", v.owner, v.name), v.reach == Reach::Across)).collect();
    rows.sort();
    table.sort();
    assert_eq!(rows, table);
}

#[test]
fn a_subject_has_the_documented_form() {
    let s = subjects();
    assert_eq!(&*s.validate_attest(), "consilium.north.hospital-a.validate.attest");
    let b = s.at(&OrgId::new("hospital-b").unwrap());
    assert_eq!(&*b.ingest_exchange(), "consilium.north.hospital-b.ingest.exchange");
    let [published, labelled] = s.consensus_gossip_of_all();
    assert_eq!(&*published, "consilium.north.*.consensus.gossip");
    assert_eq!(&*labelled, "consilium.north.*.consensus.gossip.via.*");
    assert_eq!(s.owner_of(&b.consensus_sync()), OrgId::new("hospital-b").ok());
    assert_eq!(s.owner_of("consilium.south.hospital-b.consensus.sync"), None);
}

#[test]
fn what_is_inside_never_comes_from_elsewhere() {
    let s = subjects();
    for inside in [s.consensus_submit(), s.keys_open(), s.consensus_committed()] {
        assert!(!Subjects::reaches_across(&inside), "{inside}");
    }
    let [gossip, labelled] = s.consensus_gossip_of_all();
    for across in [&*s.validate_attest(), &*gossip, &*labelled, &*s.blob(Participant::Keys, "1"), "other", ""]
    {
        assert!(Subjects::reaches_across(across), "{across}");
    }
}

#[test]
fn only_a_published_subject_has_a_label() {
    let gossip = "consilium.north.b.consensus.gossip";
    let labelled = format!("{gossip}.via.hilltop");
    assert_eq!(Subjects::split_label(&labelled), (gossip, Some("hilltop")));
    for plain in
        [gossip, "consilium.north.via.consensus.gossip", "consilium.north.b.xvia.c", "_INBOX.via.x", ""]
    {
        assert_eq!(Subjects::split_label(plain), (plain, None));
    }
    let twice = format!("{labelled}.via.lakeside");
    assert_eq!(Subjects::split_label(&twice), (&*twice, None));
}

#[test]
fn only_blob_subjects_of_the_channel_are_blob_subjects() {
    let s = subjects();
    assert!(s.is_blob(&s.blob(Participant::Ingest, "a1b2")));
    for bad in [
        "consilium.north.hospital-a.keys.class",
        "consilium.south.hospital-a.blob.ingest.a1",
        "consilium.north.hospital-a.blob.ingest.a1.b",
        "consilium.north.hospital-a.blob.ingest.*",
        "consilium.north.hospital-a.blob.ingest.",
        "consilium.north.*.blob.ingest.a1",
        "consilium.north.hospital-a.blob.other.a1",
        "",
    ] {
        assert!(!s.is_blob(bad), "{bad}");
    }
}

#[test]
fn a_service_is_granted_its_rows_and_no_more() {
    let s = subjects();
    let keys = s.grants(Participant::Keys);
    assert_eq!(
        keys.publish,
        [
            "consilium.north.*.blob.*.*",
            "consilium.north.hospital-a.consensus.state",
            "consilium.north.hospital-a.consensus.head",
            "consilium.north.hospital-a.audit.append",
        ]
    );
    assert_eq!(
        keys.subscribe,
        [
            "consilium.north.hospital-a.blob.keys.*",
            "_INBOX.keys.>",
            "consilium.north.hospital-a.keys.class",
            "consilium.north.hospital-a.keys.policy",
            "consilium.north.hospital-a.keys.open",
            "consilium.north.hospital-a.keys.erased",
        ]
    );
    let consensus = s.grants(Participant::Consensus);
    assert!(consensus.publish.contains(&"consilium.north.hospital-a.consensus.gossip".to_owned()));
    assert!(consensus.subscribe.contains(&"consilium.north.*.consensus.gossip".to_owned()));
    let others_gossip = Participant::ALL
        .into_iter()
        .filter(|p| *p != Participant::Consensus)
        .any(|p| s.grants(p).subscribe.iter().any(|g| g.ends_with("gossip")));
    assert!(!others_gossip);
    let exports = s.exports();
    assert!(exports.services.iter().all(|e| !e.contains("keys.")), "key requests never leave the account");
    assert_eq!(exports.streams, ["consilium.north.hospital-a.consensus.gossip"]);
}
