//! What happened, as a digest always and in words where asked for.

use super::world::Event;
use crate::Input;
use crate::wire::{Message, round_number};
use arc_malachitebft_core_types::{NilOrVal, VoteType};
use consilium_domain::Digest;

pub struct Trace {
    pub on: bool,
    pub digest: Digest,
    pub lines: Vec<String>,
}

impl Trace {
    pub fn new(on: bool) -> Self {
        Self { on, digest: Digest([0; 32]), lines: Vec::new() }
    }

    pub fn happens(&mut self, time: u64, node: usize, incarnation: u64, event: &Event) {
        let content: &[u8] = match event {
            Event::Boot => b"boot",
            Event::Ask => b"ask",
            Event::NextHeight => b"next",
            Event::Input(Input::NetworkMessage(bytes) | Input::SyncResponse { bytes, .. }) => bytes,
            Event::Input(_) => b"input",
        };
        let head = [time.to_be_bytes(), (node as u64).to_be_bytes(), incarnation.to_be_bytes()].concat();
        self.digest = Digest::sha256(&[&self.digest.0, &head, content]);
        if self.on {
            let what = match event {
                Event::Boot => "boots".to_owned(),
                Event::Ask => "asks for heights".to_owned(),
                Event::NextHeight => "goes on".to_owned(),
                Event::Input(Input::NetworkMessage(bytes)) => format!("hears {}", words(bytes)),
                Event::Input(Input::SyncResponse { peer, .. }) => format!("gets a block from {peer}"),
                Event::Input(Input::TimerFired(tag)) => format!("timer {}/{}", tag.height, tag.generation),
                Event::Input(Input::BodyValidated { id, valid, origin, .. }) => {
                    format!("judges {}: {valid} ({origin:?})", short(id))
                }
                Event::Input(Input::ProposeBody { height, round, .. }) => {
                    format!("has built {height}/{round}")
                }
                Event::Input(Input::StartHeight { height, .. }) => format!("starts {height}"),
                Event::Input(Input::Missed) => "may have missed messages".to_owned(),
            };
            self.note(time, node, &what);
        }
    }

    pub fn sent(&mut self, time: u64, node: usize, bytes: &[u8]) {
        if self.on {
            self.note(time, node, &format!("sends {}", words(bytes)));
        }
    }

    pub fn note(&mut self, time: u64, node: usize, what: &str) {
        if self.on {
            self.lines.push(format!("{:>9}.{:03} ms  node {node}  {what}", time / 1000, time % 1000));
        }
    }
}

fn short(id: &Digest) -> String {
    id.to_hex().chars().take(6).collect()
}

/// A message as a human reads it.
pub fn words(bytes: &[u8]) -> String {
    match Message::from_bytes(bytes, usize::MAX) {
        Ok(Message::Vote(vote)) => {
            let v = &vote.message;
            let kind = if v.kind == VoteType::Prevote { "prevote" } else { "precommit" };
            let value = match v.value {
                NilOrVal::Nil => "nil".to_owned(),
                NilOrVal::Val(id) => short(&id.0),
            };
            format!("{kind} of {} at {}/{}: {value}", v.address, v.height, round_number(v.round))
        }
        Ok(Message::Proposal(p, body)) => {
            let (m, body) = (&p.message, if body.is_some() { "" } else { " without its body" });
            let at = format!("{}/{}", m.height, round_number(m.round));
            format!("proposal of {} at {at}, pol {:?}: {}{body}", m.address, m.pol_round, short(&m.value.0))
        }
        Ok(Message::Polka(c)) => {
            format!("polka {}/{}: {}", c.height, round_number(c.round), short(&c.value_id.0))
        }
        Ok(Message::Round(c)) => {
            format!("{:?} certificate {}/{}", c.cert_type, c.height, round_number(c.round))
        }
        Ok(Message::Control(c, _)) => format!("{:?} of {} at {}", c.what, c.sender, c.height),
        Err(error) => format!("rubbish ({error})"),
    }
}
