//! Writes first inputs for every target: `seeds VECTORS OUT` takes the committed vectors and fresh encodings.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use consilium_abe::guardians::{Group, issue, refresh, repair};
use consilium_abe::post_quantum::{Custody, DecapsulationKey};
use consilium_abe::{Attribute, Gid, KemContext, authority};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

struct Corpus {
    out: PathBuf,
    count: usize,
}

impl Corpus {
    fn add(&mut self, target: &str, kind: Option<u8>, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let folder = self.out.join(target);
        fs::create_dir_all(&folder)?;
        let content: Vec<u8> = kind.into_iter().chain(bytes.iter().copied()).collect();
        self.count += 1;
        Ok(fs::write(folder.join(format!("seed-{}", self.count)), content)?)
    }
}

fn vectors(corpus: &mut Corpus, folder: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            if name == "policy" {
                corpus.add("policy", None, value.as_bytes())?;
            }
            let Ok(bytes) = hex::decode(value) else { continue };
            for target in ["policy", "header"] {
                corpus.add(target, None, &bytes)?;
            }
            for kind in 0..3 {
                corpus.add("keys", Some(kind), &bytes)?;
            }
        }
    }
    Ok(())
}

fn fresh(corpus: &mut Corpus) -> Result<(), Box<dyn Error>> {
    let rng = &mut ChaCha20Rng::from_seed([1; 32]);
    for text in ["2 of (a@b, c=d@e#w.1, x[8]>=17@h)", "a@b AND (c@d OR e@f)", "n[64]<18446744073709551615@h"]
    {
        corpus.add("policy", None, text.as_bytes())?;
    }
    let (public, secret) = authority::setup(rng, "channel-1", "hospital-a")?;
    let (group, shares) = Group::deal(&secret, &public, (2, 3), rng)?;
    let share = shares.first().ok_or("a share")?;
    let part = issue::issue_parts(&group, share, &Gid::new("did:key:z6")?, &[Attribute::parse("a")?], rng)?;
    let (deal, parts) = refresh::deal(&group, 1, rng)?;
    let repair = repair::Repair::new(&group, 3, &[1, 2])?;
    let (repair_deal, _) = repair.deal(&group, share, rng)?;
    let reader = DecapsulationKey::generate(rng);
    corpus.add("keys", Some(3), &group.to_bytes())?;
    corpus.add("keys", Some(4), &share.to_bytes())?;
    corpus.add("keys", Some(5), &part.first().ok_or("a part")?.to_bytes())?;
    corpus.add("keys", Some(6), &deal.to_bytes())?;
    corpus.add("keys", Some(7), &parts.first().ok_or("a part")?.to_bytes())?;
    corpus.add("keys", Some(8), &repair.to_bytes())?;
    corpus.add("keys", Some(9), &repair_deal.to_bytes())?;
    corpus.add("keys", Some(10), &reader.encapsulation_key().to_bytes())?;
    corpus.add("keys", Some(11), &reader.to_bytes())?;
    corpus.add("keys", Some(12), "5a".repeat(32).as_bytes())?;
    let context = KemContext::new("channel-1", "class", 1)?;
    let (custody, _) = Custody::new(reader.encapsulation_key(), &context, b"header", rng)?;
    for kind in 4..6 {
        corpus.add("sealed", Some(kind), &custody.to_bytes())?;
    }
    for kind in 0..4 {
        corpus.add("sealed", Some(kind), &[&[0u8, 1][..], &[9; 124]].concat())?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(vectors_at), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("seeds: name the folder of vectors and the folder to write to".into());
    };
    let mut corpus = Corpus { out, count: 0 };
    for kind in ["good", "bad"] {
        vectors(&mut corpus, &vectors_at.join(kind))?;
    }
    fresh(&mut corpus)
}
