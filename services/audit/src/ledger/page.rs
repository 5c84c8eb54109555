//! The ledger in words that a compliance officer can use: who decides together, whether all is well, what was decided.

use super::{Committed, Ledger, words};
use crate::http::{App, problem, show as shown, unavailable};
use crate::views::{Page, Step, Tile};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use consilium_contracts::v1::HeadResponse;
use consilium_domain::genesis::Member;
use consilium_domain::governance::Sanction;
use consilium_domain::receipt::CheckpointProof;
use consilium_domain::{OrgId, Timestamp};
use std::collections::BTreeSet;

/// Blocks looked at to see who takes part.
const RECENT: u64 = 20;
/// Of those, rows shown.
const ROWS: usize = 8;

#[derive(Template)]
#[template(path = "ledger.html")]
struct View {
    page: Page,
    channel: String,
    tiles: Vec<Tile>,
    health: Vec<Step>,
    well: bool,
    members: Vec<MemberRow>,
    quorum: usize,
    liars: usize,
    blocks: Vec<BlockRow>,
    history: Vec<HistoryRow>,
    evidence: Vec<EvidenceRow>,
}

struct MemberRow {
    organisation: String,
    own: bool,
    /// Whether it signed or proposed one of the newest blocks.
    active: bool,
    proposed: usize,
    evidence: u64,
    suspended: Option<u64>,
}

struct BlockRow {
    height: u64,
    instant: String,
    when: String,
    proposer: String,
    transactions: String,
    signatures: usize,
    /// Further rounds that it took.
    rounds: u32,
}

struct HistoryRow {
    height: u64,
    text: String,
    approvals: String,
}

struct EvidenceRow {
    organisation: String,
    about: u64,
    reporter: String,
    height: u64,
    tx: String,
}

struct Facts {
    head: HeadResponse,
    members: Vec<Member>,
    sanctions: Vec<Sanction>,
    blocks: Vec<Committed>,
    checkpoint: Option<CheckpointProof>,
}

async fn facts(ledger: &Ledger) -> anyhow::Result<Facts> {
    let head = ledger.head().await?;
    Ok(Facts {
        members: ledger.members().await?,
        sanctions: ledger.sanctions().await?,
        blocks: ledger.blocks(head.height + 1, RECENT).await?,
        checkpoint: ledger.checkpoint().await?.map(|(_, proof)| proof),
        head,
    })
}

impl Facts {
    /// Members that signed or proposed one of the newest blocks. A certificate needs no more than two thirds, so one
    /// block says nothing of those who are not in it, and twenty say much.
    fn active(&self) -> BTreeSet<OrgId> {
        let mut active = BTreeSet::new();
        for c in &self.blocks {
            active.insert(c.block.header.proposer.clone());
            let signers = c.certificate.signatures.iter();
            let names = signers.filter_map(|s| self.members.get(usize::from(s.validator)));
            active.extend(names.map(|m| m.organisation.clone()));
        }
        active
    }
}

/// `GET /ledger`.
pub async fn show(app: web::Data<App>) -> HttpResponse {
    if let Err(error) = app.looked("ledger", None).await {
        return unavailable(&app, &error);
    }
    match view(&app).await {
        Ok(view) => shown(&view),
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "the ledger page could not be made");
            let text = "This organisation's consensus service gave no answer. Records wait until it is back; nothing is lost. Ask your operator to look at it.";
            problem(&app, StatusCode::SERVICE_UNAVAILABLE, "The ledger cannot be seen", text)
        }
    }
}

async fn view(app: &App) -> anyhow::Result<View> {
    let ledger = &app.ledger;
    let facts = facts(ledger).await?;
    let active = facts.active();
    let (mut members, mut evidence) = (Vec::new(), Vec::new());
    for m in &facts.members {
        let (count, found) = ledger.evidence(&m.organisation).await?;
        evidence.extend(found.into_iter().map(|f| EvidenceRow {
            organisation: f.organisation.to_string(),
            about: f.about.0,
            reporter: f.record.reporter.to_string(),
            height: f.record.height.0,
            tx: f.record.tx.to_string(),
        }));
        let sanction = facts.sanctions.iter().find(|s| s.organisation == m.organisation);
        members.push(MemberRow {
            organisation: m.organisation.to_string(),
            own: m.organisation == app.organisation,
            active: active.contains(&m.organisation),
            proposed: facts.blocks.iter().filter(|c| c.block.header.proposer == m.organisation).count(),
            evidence: count,
            suspended: sanction.map(|s| s.until.0).filter(|until| *until > facts.head.height + 1),
        });
    }
    let history = ledger.history().await?;
    let health = health(app, &facts, &members);
    let quorum = consilium_ledger::committee::quorum(members.len());
    Ok(View {
        page: app.page("ledger"),
        channel: ledger.genesis().channel.to_string(),
        tiles: vec![
            Tile { name: "members", number: members.len() as u64, tone: "" },
            Tile { name: "blocks", number: facts.head.height, tone: "" },
            Tile { name: "transactions", number: facts.head.txs, tone: "" },
            Tile { name: "waiting for a block", number: facts.head.mempool.into(), tone: "" },
        ],
        well: health.iter().all(|step| step.good),
        health,
        quorum,
        // Fewer than a third may lie: n = 3f + 1.
        liars: members.len().saturating_sub(1) / 3,
        members,
        blocks: facts.blocks.iter().take(ROWS).map(row).collect(),
        history: history
            .iter()
            .map(|c| HistoryRow {
                height: c.height.0,
                text: words::motion(&c.governance.motion),
                approvals: names(c.governance.approvals.iter().map(|a| a.organisation.as_str())),
            })
            .collect(),
        evidence,
    })
}

fn row(c: &Committed) -> BlockRow {
    let header = &c.block.header;
    let instant = header.time.to_instant();
    let when = instant.get(..19).unwrap_or(&instant).replacen('T', " ", 1);
    let transactions = match c.block.txs.len() {
        0 => "none".to_owned(),
        n => words::counted(n as u64, "transaction"),
    };
    BlockRow {
        height: header.height.0,
        instant,
        when,
        proposer: header.proposer.to_string(),
        transactions,
        signatures: c.certificate.signatures.len(),
        rounds: c.certificate.round,
    }
}

/// Each line says whether something is as it should be, and what it means if not.
fn health(app: &App, facts: &Facts, members: &[MemberRow]) -> Vec<Step> {
    let age = app.clock.now().since(Timestamp(facts.head.time_ms));
    let fresh = age.as_millis() <= app.ledger.genesis().params.staleness_ms.into();
    let seconds = age.as_millis().div_ceil(1000);
    let ago = words::counted(u64::try_from(seconds).unwrap_or(u64::MAX), "second");
    let mut steps = vec![if fresh {
        Step {
            good: true,
            title: "The members agree",
            text: format!("The newest block is at most {ago} old."),
        }
    } else {
        let text = format!(
            "The newest block is {ago} old. Until there is a newer one, records of other organisations are not opened here; the own ones are."
        );
        Step { good: false, title: "There is no new block", text }
    }];
    steps.push(if facts.head.syncing {
        let text = "It fetches blocks that it missed. Until it has them, decisions about consents wait.";
        Step { good: false, title: "This organisation's node is behind", text: text.to_owned() }
    } else {
        let text = "It has the newest block that it has heard of.";
        Step { good: true, title: "This organisation's node is up to date", text: text.to_owned() }
    });
    let silent = names(members.iter().filter(|m| !m.active).map(|m| m.organisation.as_str()));
    let seen = facts.blocks.len();
    steps.push(if silent.is_empty() {
        let text = format!("Each has signed or proposed one of the newest {seen} blocks.");
        Step { good: true, title: "Every member takes part", text }
    } else {
        let text = format!(
            "{silent}: nothing signed or proposed in the newest {seen} blocks. Ask them; while more than two thirds take part, the ledger goes on."
        );
        Step { good: false, title: "Not every member takes part", text }
    });
    let accused = names(members.iter().filter(|m| m.evidence > 0).map(|m| m.organisation.as_str()));
    steps.push(if accused.is_empty() {
        let text = "Nobody was seen to sign two things that exclude each other.";
        Step { good: true, title: "No member has contradicted itself", text: text.to_owned() }
    } else {
        let text = format!(
            "{accused}. A member that lost its memory in a crash looks the same as one that lies: ask before you act."
        );
        Step { good: false, title: "A member has contradicted itself", text }
    });
    steps.push(match &facts.checkpoint {
        Some(c) => Step {
            good: true,
            title: "The log is countersigned",
            text: format!(
                "More than two thirds of the members have signed that it had {} before block {}.",
                words::counted(c.header.log_size, "transaction"),
                c.header.height
            ),
        },
        None => Step {
            good: false,
            title: "The log is not countersigned yet",
            text: "The members sign it within seconds after its first transaction.".to_owned(),
        },
    });
    steps
}

/// `a, b and c`.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    match all.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
