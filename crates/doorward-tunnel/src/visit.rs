//! A visit as the agent gets it: the gateway has decided, the agent connects and answers.

use crate::gateway_link::MAX_DETAIL;
use crate::lane::LaneStream;
use crate::messages::{Hop, Message, Open, OpenFailed};
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::{QuicStream, Stream};
use crate::throttle::Pace;
use crate::udp::{Datagrams, Flow, FlowTable};
use doorward_core::hop::HopFailure;
use doorward_core::names::{Label, PathPrefix};
use quinn::Connection;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Somebody wants to reach a service; the gateway has decided that they may.
pub struct Visit {
    pub service: Label,
    /// The time that is left, by this machine's own clock from now on.
    pub remaining: Option<Duration>,
    pub source: IpAddr,
    /// The service's mount that is wanted, if it is not the service itself.
    pub mount: Option<PathPrefix>,
    /// A UDP flow rather than a byte stream.
    flow: Option<u64>,
    way: Way,
}

pub(crate) enum Way {
    Quic { stream: QuicStream, connection: Connection, flows: Arc<FlowTable> },
    Lane { pipe: Pipe, pulse: Arc<Pulse>, gone: CancellationToken, home: oneshot::Sender<Pipe> },
}

impl Visit {
    pub(crate) fn new(open: Open, way: Way) -> Option<Self> {
        Some(Self {
            service: Label::parse(&open.service).ok()?,
            remaining: open.remaining_ms.map(Duration::from_millis),
            source: open.source.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            mount: open.mount.map(|path| PathPrefix::parse(&path)).transpose().ok()?,
            flow: open.flow,
            way,
        })
    }

    pub fn is_flow(&self) -> bool {
        self.flow.is_some()
    }

    /// The target is connected: the stream is the visitor's from here on.
    pub async fn accept(self) -> io::Result<Stream> {
        let opened = Message::Opened.encode();
        match self.way {
            Way::Quic { mut stream, .. } => {
                stream.write_all(&opened).await?;
                Ok(Stream::quic(stream))
            }
            Way::Lane { mut pipe, pulse, gone, home } => {
                pipe.write_all(&opened).await?;
                pipe.flush().await?;
                let home = Box::new(move |pipe| drop(home.send(pipe)));
                Ok(Stream::lane(LaneStream::new(pipe, pulse, &gone, home)))
            }
        }
    }

    /// The same for a UDP flow.
    pub async fn accept_flow(self) -> io::Result<Flow> {
        let datagrams = match (&self.way, self.flow) {
            (Way::Quic { connection, flows, .. }, Some(number)) => {
                Some(Datagrams::new(connection.clone(), flows, number))
            }
            _ => None,
        };
        let (datagrams, traffic, own, pace) = (datagrams, Arc::default(), Arc::default(), Pace::default());
        Ok(Flow { stream: self.accept().await?, datagrams, traffic, own, pace })
    }

    pub async fn fail(self, failure: HopFailure, detail: &str) {
        // The gateway reads no longer one here, and keeps no more of it.
        let detail = detail.chars().take(MAX_DETAIL).collect();
        let failed = OpenFailed { hop: Hop::from(failure).into(), detail };
        let bytes = Message::OpenFailed(failed).encode();
        match self.way {
            Way::Quic { mut stream, .. } => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
            Way::Lane { mut pipe, home, .. } => {
                if pipe.write_all(&bytes).await.is_ok() && pipe.flush().await.is_ok() {
                    let _ = home.send(pipe);
                }
            }
        }
    }
}
