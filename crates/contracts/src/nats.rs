//! The nats-server configuration of a consortium on one server: an account per organisation, a user per
//! service, permissions from the table of [`crate::subjects`], exports and imports for what goes across.
//!
//! The form is that of <https://docs.nats.io/running-a-nats-service/configuration/securing_nats>
//! (accounts, authorization, `allow_responses`).

use crate::subjects::{Participant, Subjects};
use consilium_domain::{ChannelId, OrgId};
use std::fmt::Write;
use thiserror::Error;

/// Largest message that the server takes, in bytes; what is larger travels as chunks.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// One organisation's account.
#[derive(Debug, Clone)]
pub struct Account {
    pub organisation: OrgId,
    /// Password of each service: 16 to 128 letters and digits.
    pub passwords: Vec<(Participant, String)>,
}

/// Why no configuration was written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NatsConfigError {
    #[error("the password of `{0}` must be 16 to 128 letters and digits")]
    Password(String),
    #[error("the listen address `{0}` must be `host:port`")]
    Listen(String),
}

/// The NATS user name of a service: `<organisation>.<service>`.
pub fn user(organisation: &OrgId, participant: Participant) -> String {
    format!("{organisation}.{participant}")
}

/// Text of the configuration file; it holds the passwords, so write it for its owner alone (0600).
///
/// `listen` and `monitor` are `host:port`; the monitor serves HTTP statistics.
pub fn server_config(
    channel: &ChannelId,
    accounts: &[Account],
    listen: &str,
    monitor: Option<&str>,
) -> Result<String, NatsConfigError> {
    let address = |text: &str| -> Result<(), NatsConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<i32>().is_ok() && text.chars().all(plain) => Ok(()),
            _ => Err(NatsConfigError::Listen(text.to_owned())),
        }
    };
    address(listen)?;
    let mut out = format!("listen: \"{listen}\"\n");
    if let Some(monitor) = monitor {
        address(monitor)?;
        line(&mut out, 0, &format!("http: \"{monitor}\""));
    }
    line(&mut out, 0, &format!("max_payload: {MAX_PAYLOAD}"));
    line(&mut out, 0, "accounts {");
    for account in accounts {
        write_account(&mut out, channel, account, accounts)?;
    }
    line(&mut out, 0, "}");
    Ok(out)
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:1$}{text}", "", depth * 2);
}

fn list(subjects: &[String]) -> String {
    let quoted: Vec<String> = subjects.iter().map(|s| format!("\"{s}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn write_account(
    out: &mut String,
    channel: &ChannelId,
    account: &Account,
    all: &[Account],
) -> Result<(), NatsConfigError> {
    let subjects = Subjects::new(channel.clone(), account.organisation.clone());
    line(out, 1, &format!("\"{}\" {{", account.organisation));
    line(out, 2, "users: [");
    for (participant, password) in &account.passwords {
        let user = user(&account.organisation, *participant);
        if !(16..=128).contains(&password.len()) || !password.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(NatsConfigError::Password(user));
        }
        let grants = subjects.grants(*participant);
        line(out, 3, &format!("{{ user: \"{user}\", password: \"{password}\", permissions: {{"));
        line(out, 4, &format!("publish: {{ allow: {} }}", list(&grants.publish)));
        line(out, 4, &format!("subscribe: {{ allow: {} }}", list(&grants.subscribe)));
        // One answer to each request, within the longest time that anyone waits for one.
        line(out, 4, "allow_responses: { max: 1, expires: \"2m\" }");
        line(out, 3, "} }");
    }
    line(out, 2, "]");
    let others: Vec<&OrgId> =
        all.iter().map(|a| &a.organisation).filter(|o| **o != account.organisation).collect();
    let names: Vec<String> = others.iter().map(ToString::to_string).collect();
    let exports = subjects.exports();
    line(out, 2, "exports: [");
    for service in &exports.services {
        line(out, 3, &format!("{{ service: \"{service}\", accounts: {} }}", list(&names)));
    }
    for stream in &exports.streams {
        line(out, 3, &format!("{{ stream: \"{stream}\", accounts: {} }}", list(&names)));
    }
    line(out, 2, "]");
    line(out, 2, "imports: [");
    for other in others {
        let exports = subjects.at(other).exports();
        for service in &exports.services {
            line(out, 3, &format!("{{ service: {{ account: \"{other}\", subject: \"{service}\" }} }}"));
        }
        for stream in &exports.streams {
            line(out, 3, &format!("{{ stream: {{ account: \"{other}\", subject: \"{stream}\" }} }}"));
        }
    }
    line(out, 2, "]");
    line(out, 1, "}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, password: &str) -> Account {
        Account {
            organisation: OrgId::new(name).unwrap(),
            passwords: Participant::ALL.map(|p| (p, password.to_owned())).to_vec(),
        }
    }

    #[test]
    fn what_would_break_the_syntax_is_refused() {
        let channel = ChannelId::new("north").unwrap();
        let good = account("a", "0123456789abcdef");
        assert!(server_config(&channel, std::slice::from_ref(&good), "127.0.0.1:-1", None).is_ok());
        for password in ["short", "0123456789abcde\"", "0123456789 abcdef", "$0123456789abcdef"] {
            let refused = server_config(&channel, &[account("a", password)], "127.0.0.1:4222", None);
            assert_eq!(refused, Err(NatsConfigError::Password("a.ingest".to_owned())), "{password}");
        }
        for listen in ["127.0.0.1", "host:port", "\"x\": 1:2", ""] {
            assert!(server_config(&channel, std::slice::from_ref(&good), listen, None).is_err(), "{listen}");
        }
    }

    #[test]
    fn every_other_account_imports_what_one_exports() {
        let channel = ChannelId::new("north").unwrap();
        let accounts = [
            account("a", "0123456789abcdef"),
            account("b", "0123456789abcdeg"),
            account("c", "0123456789abcdeh"),
        ];
        let text = server_config(&channel, &accounts, "127.0.0.1:4222", Some("127.0.0.1:8222")).unwrap();
        let exports = text.matches("{ service: \"").count() + text.matches("{ stream: \"").count();
        let imports = text.matches("account: \"").count();
        assert_eq!((exports, imports), (3 * 5, 3 * 2 * 5));
        assert!(!text.contains("import: \"consilium.north.a.keys"));
    }
}
