//! The NATS client protocol, as far as needed to see who publishes what
//! (docs.nats.io/reference/reference-protocols/nats-protocol).

/// What a client published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub subject: String,
    pub reply: Option<String>,
    /// Headers (with HPUB) and payload, as sent.
    pub body: Vec<u8>,
}

/// Reads one client's bytes as they come.
#[derive(Debug, Default)]
pub struct ClientStream {
    buffer: Vec<u8>,
    /// `user` of the CONNECT.
    pub user: String,
}

impl ClientStream {
    /// Takes more bytes and gives the messages that are now whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Published> {
        self.buffer.extend_from_slice(bytes);
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some((used, message)) = self.next(at) {
            out.extend(message);
            at += used;
        }
        self.buffer.drain(..at.min(self.buffer.len()));
        out
    }

    /// The protocol element at `at`: its length and the message, if it is one.
    fn next(&mut self, at: usize) -> Option<(usize, Option<Published>)> {
        let rest = self.buffer.get(at..)?;
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let line = String::from_utf8_lossy(rest.get(..end)?).into_owned();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (verb, arguments) = words.split_first()?;
        let with_headers = verb.eq_ignore_ascii_case("HPUB");
        if !with_headers && !verb.eq_ignore_ascii_case("PUB") {
            if let Some(json) = line.strip_prefix("CONNECT ") {
                let options: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
                self.user = options.get("user").and_then(|u| u.as_str()).unwrap_or_default().to_owned();
            }
            return Some((end + 2, None));
        }
        // PUB <subject> [reply-to] <#bytes>; HPUB <subject> [reply-to] <#header bytes> <#total bytes>
        let size: usize = arguments.last()?.parse().ok()?;
        let reply_at = if with_headers { arguments.len() == 4 } else { arguments.len() == 3 };
        let whole = end + 2 + size + 2;
        let body = rest.get(end + 2..end + 2 + size)?.to_vec();
        if rest.len() < whole {
            return None;
        }
        let subject = (*arguments.first()?).to_owned();
        let reply = reply_at.then(|| arguments.get(1).map(|r| (*r).to_owned())).flatten();
        Some((whole, Some(Published { subject, reply, body })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let bytes = b"CONNECT {\"user\":\"hospital-a.ingest\"}\r\nPING\r\nSUB a.b 1\r\nPUB x.y 5\r\nhe\r\no\r\nHPUB x.z _INBOX.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        for cut in 1..bytes.len() {
            let mut stream = ClientStream::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                found.extend(stream.feed(part));
            }
            assert_eq!(stream.user, "hospital-a.ingest");
            let [one, two] = found.as_slice() else { panic!("cut {cut}: {found:?}") };
            assert_eq!(
                (one.subject.as_str(), one.body.as_slice(), &one.reply),
                ("x.y", b"he\r\no".as_slice(), &None)
            );
            assert_eq!(two.reply.as_deref(), Some("_INBOX.1"));
            assert_eq!(two.body, b"NATS/1.0\r\n\r\nhi");
        }
    }
}
