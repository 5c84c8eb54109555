//! The bus over NATS.

use super::error::BusError;
use super::message::{Headers, Inlet, Raw};
use super::queue::CAPACITY;
use crate::config::{BusConfig, read_secret};
use anyhow::Context;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, PublishErrorKind, RequestErrorKind};
use consilium_contracts::{Participant, Subjects};
use futures::StreamExt;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What the connection tells about itself.
#[derive(Debug)]
pub(super) enum Notice {
    Connected,
    Disconnected(String),
    SlowConsumer,
    Error(String),
}

/// Connects in the background and for ever; returns at once.
pub(super) async fn connect(
    config: &BusConfig,
    participant: Participant,
) -> anyhow::Result<(Client, mpsc::UnboundedReceiver<Notice>)> {
    let password = read_secret(&config.password_file).context("`bus.password_file`")?;
    let (sender, notices) = mpsc::unbounded_channel();
    let mut options = ConnectOptions::with_user_and_password(config.user.clone(), password)
        .name(config.user.clone())
        .custom_inbox_prefix(Subjects::inbox_prefix(participant))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .subscription_capacity(CAPACITY)
        .connection_timeout(Duration::from_secs(3))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempts| {
            let step = u64::try_from(attempts).unwrap_or(u64::MAX).saturating_mul(50);
            Duration::from_millis(step.min(2000))
        })
        .event_callback(move |event| {
            let notice = match event {
                Event::Connected => Notice::Connected,
                Event::SlowConsumer(_) => Notice::SlowConsumer,
                Event::ServerError(error) => Notice::Error(error.to_string()),
                Event::ClientError(error) => Notice::Error(error.to_string()),
                gone => Notice::Disconnected(gone.to_string()),
            };
            // Nobody listens any more when the process is ending.
            let _ = sender.send(notice);
            std::future::ready(())
        });
    if let Some(ca) = &config.ca_file {
        options = options.add_root_certificates(ca.clone());
    }
    let urls: Vec<&str> = config.url.split(',').map(str::trim).collect();
    let client = options.connect(urls).await.context("`bus.url`")?;
    Ok((client, notices))
}

fn to_wire(headers: &Headers) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in headers.iter() {
        out.insert(name, value);
    }
    out
}

fn from_wire(message: async_nats::Message) -> Raw {
    let mut headers = Headers::default();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        if let Some(value) = values.first() {
            headers.insert(name.as_ref(), value.as_str());
        }
    }
    Raw {
        subject: message.subject.into_string(),
        reply: message.reply.map(|reply| reply.into_string()),
        headers,
        payload: message.payload.into(),
    }
}

pub(super) async fn publish(client: &Client, message: Raw) -> Result<(), BusError> {
    let size = message.payload.len() as u64;
    let sent = match (message.reply, message.headers.is_empty()) {
        (None, true) => client.publish(message.subject, message.payload.into()).await,
        (None, false) => {
            client
                .publish_with_headers(message.subject, to_wire(&message.headers), message.payload.into())
                .await
        }
        (Some(reply), _) => {
            let headers = to_wire(&message.headers);
            client
                .publish_with_reply_and_headers(message.subject, reply, headers, message.payload.into())
                .await
        }
    };
    sent.map_err(|error| match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            BusError::TooLarge { size, limit: client.max_payload() as u64 }
        }
        _ => BusError::Transport(error.to_string()),
    })
}

pub(super) async fn request(client: &Client, message: Raw, timeout: Duration) -> Result<Raw, BusError> {
    let size = message.payload.len() as u64;
    let subject = message.subject.clone();
    let mut request = async_nats::Request::new().payload(message.payload.into()).timeout(Some(timeout));
    if !message.headers.is_empty() {
        request = request.headers(to_wire(&message.headers));
    }
    match client.send_request(message.subject, request).await {
        Ok(answer) => Ok(from_wire(answer)),
        Err(error) => Err(match error.kind() {
            RequestErrorKind::NoResponders => BusError::NoResponder(subject),
            RequestErrorKind::TimedOut => BusError::Timeout(subject),
            RequestErrorKind::MaxPayloadExceeded => {
                BusError::TooLarge { size, limit: client.max_payload() as u64 }
            }
            _ => BusError::Transport(error.to_string()),
        }),
    }
}

/// Listens; the task ends when the listener is gone or the returned end is used or dropped.
pub(super) async fn subscribe(
    client: &Client,
    subject: &str,
    queue: Option<&str>,
    inlet: Inlet,
) -> Result<oneshot::Sender<()>, BusError> {
    let subscribed = match queue {
        Some(queue) => client.queue_subscribe(subject.to_owned(), queue.to_owned()).await,
        None => client.subscribe(subject.to_owned()).await,
    };
    let mut subscriber = subscribed.map_err(|error| BusError::Transport(error.to_string()))?;
    // Messages wait in our own queue, which knows whom it belongs to: the client's is emptied at once.
    let (stop, mut stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut draining = false;
        loop {
            let message = tokio::select! {
                () = inlet.closed() => break,
                signal = &mut stopped, if !draining => {
                    draining = true;
                    // An error here is only that the listener itself was dropped.
                    if signal.is_err() || subscriber.drain().await.is_err() {
                        break;
                    }
                    continue;
                }
                message = subscriber.next() => message,
            };
            let Some(message) = message else { break };
            inlet.put(from_wire(message));
        }
        // Dropping the subscriber unsubscribes.
    });
    Ok(stop)
}
