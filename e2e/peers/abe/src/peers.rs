//! rabe 0.4.2 (MIT): aw11 is the multi-authority scheme of Lewko and Waters (EUROCRYPT 2011), ac17 the single-authority
//! FAME (Agrawal and Chase, CCS 2017). Timing baselines only: a curve of about 100 bit, security against chosen
//! plaintexts only, and panics on malformed policies.

use rabe::schemes::{ac17, aw11};
use rabe::utils::policy::pest::PolicyLanguage;

use crate::Failure;
use crate::ours::{Samples, Size};

const PLAINTEXT: &[u8] = &[7; 32];

/// Keys of both schemes for an AND of n attributes at m authorities.
pub struct Case {
    size: Size,
    policy: String,
    /// By authority.
    names: Vec<Vec<String>>,
    global: aw11::Aw11GlobalKey,
    authorities: Vec<(aw11::Aw11PublicKey, aw11::Aw11MasterKey)>,
    central: (ac17::Ac17PublicKey, ac17::Ac17MasterKey),
}

fn told(error: rabe::error::RabeError) -> Failure {
    format!("rabe: {error}").into()
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

impl Case {
    pub fn new((rows, authorities): Size) -> Result<Self, Failure> {
        let global = aw11::setup();
        let mut names = vec![Vec::new(); authorities];
        for index in 0..rows {
            names[index % authorities].push(format!("A{index}"));
        }
        let made = names.iter().map(|own| aw11::authgen(&global, &borrowed(own)));
        let authorities = made.collect::<Option<Vec<_>>>().ok_or("rabe: no authority key")?;
        // Its gates have two children.
        let leaf = |index: usize| format!(r#"{{"name": "A{index}"}}"#);
        let and =
            |left: String, index| format!(r#"{{"name": "and", "children": [{left}, {}]}}"#, leaf(index));
        let policy = (1..rows).fold(leaf(0), and);
        Ok(Self { size: (rows, names.len()), policy, names, global, authorities, central: ac17::setup() })
    }
}

/// One round over one case.
pub fn round(case: &Case, samples: &mut Samples) -> Result<(), Failure> {
    let (size, policy, json) = (case.size, case.policy.as_str(), PolicyLanguage::JsonPolicy);
    let key = samples.time("aw11 keygen", size, || {
        let mut all = case.authorities.iter().zip(&case.names);
        let ((_, first), own) = all.next().ok_or("an authority")?;
        let mut key = aw11::keygen(&case.global, first, "bench", &borrowed(own)).map_err(told)?;
        for ((_, master), own) in all {
            for name in own {
                aw11::add_to_attribute(&case.global, master, name, &mut key).map_err(told)?;
            }
        }
        Ok::<_, Failure>(key)
    })??;
    let public: Vec<_> = case.authorities.iter().map(|(public, _)| public).collect();
    let sealed = samples
        .time("aw11 encrypt", size, || aw11::encrypt(&case.global, &public, policy, json, PLAINTEXT))?
        .map_err(told)?;
    let opened =
        samples.time("aw11 decrypt", size, || aw11::decrypt(&case.global, &key, &sealed))?.map_err(told)?;
    let (public, master) = &case.central;
    let names: Vec<&str> = case.names.iter().flatten().map(String::as_str).collect();
    let key = samples.time("ac17 keygen", size, || ac17::cp_keygen(master, &names))?.map_err(told)?;
    let sealed = samples
        .time("ac17 encrypt", size, || ac17::cp_encrypt(public, policy, PLAINTEXT, json))?
        .map_err(told)?;
    let also = samples.time("ac17 decrypt", size, || ac17::cp_decrypt(&key, &sealed))?.map_err(told)?;
    if opened == PLAINTEXT && also == PLAINTEXT { Ok(()) } else { Err("rabe: another plaintext".into()) }
}
