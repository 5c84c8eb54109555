//! The rows of an RW15 ciphertext (Rouselakis and Waters 2015, §5), ciphertext in G1:
//!
//! C1 = e(g1,g2)^λ · A^t, C2 = g1^-t, C3 = Y^t · g1^ω, C4 = F(u)^t, where λ shares s and ω shares
//! zero along the policy. With keys K, K' of one identity and coefficients ε over a satisfying
//! set, Π C1^ε · e(C2^ε, K) · e(K'^ε, C4) · e(Π C3^ε, H(GID)) = e(g1,g2)^s.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::AbeError;
use crate::AuthorityPublicKey;
use crate::authority::AttributeKey;
use crate::codec::{Reader, Writer};
use crate::curve::{
    G1, G1_BYTES, G1Table, G2, G2_BYTES, GT_BYTES, Gt, GtTable, Scalar, TORUS_BYTES, multi_pairing,
};
use crate::hash::{CoinKind, Coins};
use crate::lsss::Lsss;

/// Bytes of one row.
pub(crate) const ROW_BYTES: usize = GT_BYTES + 2 * G1_BYTES + G2_BYTES;
/// Bytes of one row with C1 in torus form.
pub(crate) const COMPACT_ROW_BYTES: usize = TORUS_BYTES + 2 * G1_BYTES + G2_BYTES;

/// How C1 is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All twelve coefficients, 576 bytes: what is hashed and compared.
    Full,
    /// A point of the torus, 288 bytes.
    Compact,
}

/// One row of a ciphertext.
pub(crate) struct Row {
    c1: Gt,
    c2: G1,
    c3: G1,
    c4: G2,
}

impl Row {
    /// C1 (576 or 288 bytes), C2 (48), C3 (48), C4 (96).
    pub(crate) fn write(&self, out: Writer, form: Form) -> Writer {
        let out = match form {
            Form::Full => out.fixed(&self.c1.to_bytes()),
            Form::Compact => out.fixed(&self.c1.to_torus()),
        };
        out.fixed(&self.c2.to_bytes()).fixed(&self.c3.to_bytes()).fixed(&self.c4.to_bytes())
    }

    /// Decodes a row; each part must be canonical, in its subgroup and not the identity.
    pub(crate) fn read(reader: &mut Reader<'_>, form: Form, place: Place) -> Result<Self, AbeError> {
        let groups = place == Place::Subgroup;
        let c1 = match (form, groups) {
            (Form::Full, true) => Gt::from_bytes(reader.array::<GT_BYTES>()?),
            (Form::Full, false) => Gt::in_field(reader.array::<GT_BYTES>()?),
            (Form::Compact, true) => Gt::from_torus(reader.array::<TORUS_BYTES>()?),
            (Form::Compact, false) => Gt::on_torus(reader.array::<TORUS_BYTES>()?),
        };
        let (c2, c3, c4) =
            (reader.array::<G1_BYTES>()?, reader.array::<G1_BYTES>()?, reader.array::<G2_BYTES>()?);
        let g1 = |bytes| if groups { G1::from_bytes(bytes) } else { G1::on_curve(bytes) };
        let c4 = if groups { G2::from_bytes(c4) } else { G2::on_curve(c4) };
        Ok(Self {
            c1: c1.ok_or_else(|| reader.malformed("C1 is not in the group"))?,
            c2: g1(c2).ok_or_else(|| reader.malformed("C2 is not in the group"))?,
            c3: g1(c3).ok_or_else(|| reader.malformed("C3 is not in the group"))?,
            c4: c4.ok_or_else(|| reader.malformed("C4 is not in the group"))?,
        })
    }
}

/// Where the elements of a decoded row are known to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the subgroups of order r.
    Subgroup,
    /// On the curves: good for decapsulation only, which finds out.
    Curve,
}

/// Rows and the secret e(g1,g2)^s, a function of policy, public keys and coins alone.
pub(crate) fn encrypt(lsss: &Lsss, keys: &[&AuthorityPublicKey], coins: &Coins) -> (Vec<Row>, Zeroizing<Gt>) {
    let s = coins.scalar(CoinKind::Secret, 0);
    let lambdas = lsss.shares(&s, &mut column(coins, CoinKind::SecretColumn));
    let omegas = lsss.shares(&Scalar::zero(), &mut column(coins, CoinKind::ZeroColumn));
    let (g1, base) = (G1Table::generator(), GtTable::generator());
    // e(g1,g2)^λ by the number of the share: rows under one OR have the same.
    let mut powers: BTreeMap<usize, Zeroizing<Gt>> = BTreeMap::new();
    let numbers = lsss.share_numbers();
    let mut rows = Vec::with_capacity(lsss.terms.len());
    let inputs = lsss.terms.iter().zip(keys).zip(lambdas.iter().zip(&omegas)).zip(&numbers);
    for (index, (((term, key), (lambda, omega)), number)) in (0u32..).zip(inputs) {
        let t = coins.scalar(CoinKind::Row, index);
        let tables = key.tables();
        let power = powers.entry(*number).or_insert_with(|| Zeroizing::new(base.pow(lambda)));
        rows.push(Row {
            c1: power.mul(&tables.a.pow(&t)),
            c2: g1.mul(&t.neg()),
            // Share number 0 is that of the secret, and of zero.
            c3: if *number == 0 { tables.y.mul(&t) } else { tables.y.mul_add(&t, g1, omega) },
            c4: key.attribute_point(term).mul(&t),
        });
    }
    let z = product(lsss, &numbers, &powers).unwrap_or_else(|| Zeroizing::new(base.pow(&s)));
    (rows, z)
}

/// e(g1,g2)^s as the product of powers that the rows have made; `None` where that takes coefficients other than one.
fn product(lsss: &Lsss, numbers: &[usize], powers: &BTreeMap<usize, Zeroizing<Gt>>) -> Option<Zeroizing<Gt>> {
    let one = Scalar::from_u64(1);
    let mut out = Zeroizing::new(Gt::one());
    for (row, coefficient) in lsss.reconstruct(&vec![true; numbers.len()])? {
        let power = numbers.get(row).and_then(|number| powers.get(number))?;
        if !coefficient.public_eq(&one) {
            return None;
        }
        *out = out.mul(power);
    }
    Some(out)
}

/// The column entries of one kind, in order.
fn column(coins: &Coins, kind: CoinKind) -> impl FnMut() -> Scalar {
    let mut index = 0u32;
    move || {
        let scalar = coins.scalar(kind, index);
        index += 1;
        scalar
    }
}

/// A row that decryption uses: the row, its coefficient and the key for its attribute.
pub(crate) struct Used<'a> {
    pub(crate) row: &'a Row,
    pub(crate) coefficient: Scalar,
    pub(crate) key: &'a AttributeKey,
}

/// e(g1,g2)^s from rows that satisfy the policy. Coefficients are public.
pub(crate) fn decrypt(used: &[Used<'_>], identity: &G2) -> Zeroizing<Gt> {
    let one = Scalar::from_u64(1);
    let mut blinded = Zeroizing::new(Gt::one());
    let mut c3_sum: Option<G1> = None;
    let mut scaled = Vec::with_capacity(used.len());
    for Used { row, coefficient, key } in used {
        let unit = coefficient.public_eq(&one);
        let g1 = |point: &G1| {
            if unit { point.clone() } else { point.mul(coefficient) }
        };
        let c1 = if unit { row.c1.clone() } else { row.c1.pow(coefficient) };
        *blinded = blinded.mul(&c1);
        let c3 = g1(&row.c3);
        c3_sum = Some(match c3_sum {
            None => c3,
            Some(sum) => sum.add(&c3),
        });
        let k_prime = Zeroizing::new(g1(&key.k_prime));
        scaled.push((g1(&row.c2), k_prime, &key.k, &row.c4));
    }
    let mut pairs: Vec<(&G1, &G2)> = Vec::with_capacity(2 * scaled.len() + 1);
    for (c2, k_prime, k, c4) in &scaled {
        pairs.push((c2, k));
        pairs.push((k_prime, c4));
    }
    if let Some(sum) = &c3_sum {
        pairs.push((sum, identity));
    }
    let unblind = Zeroizing::new(multi_pairing(&pairs));
    Zeroizing::new(blinded.mul(&unblind))
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod span_tests;
