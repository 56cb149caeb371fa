//! Does deeds: says to the router what the keeper decided, and reads what it answers.

use crate::attempt::{Answer, Attempt, Granted};
use crate::keeper::{Checked, Withdrawn};
use crate::ledger::{By, Line};
use crate::pcp::{self, Nonce};
use crate::report::Why;
use crate::route::Network;
use crate::upnp::{Entry, Fault, Igd, Present, Remedy, UpnpError};
use crate::wish::Way;
use crate::{datagram, natpmp};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tracing::debug;

pub(crate) struct Router {
    network: Network,
    igd: Option<Igd>,
}

impl Router {
    pub(crate) fn new(network: Network) -> Self {
        Self { network, igd: None }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The name of the router that speaks UPnP, if it does.
    pub(crate) async fn find_upnp(&mut self) -> Option<String> {
        self.igd = match Igd::find(&self.network).await {
            Ok(igd) => Some(igd),
            Err(error) => {
                debug!("no UPnP: {error}");
                None
            }
        };
        self.igd.as_ref().map(|igd| igd.udn.clone())
    }

    /// Its address towards the internet. PCP tells it with a mapping alone.
    pub(crate) async fn external_address(&mut self) -> Option<Ipv4Addr> {
        if let Some(natpmp::Answer::Done((_, address))) =
            self.exchange(&natpmp::encode_address(), natpmp::read_address).await
        {
            return Some(address);
        }
        if self.igd.is_none() {
            self.find_upnp().await;
        }
        let asked = self.igd.as_ref()?.external_address().await;
        self.heard(asked).ok()
    }

    /// `token` marks the mapping as ours.
    pub(crate) async fn ask(
        &mut self,
        line: &Line,
        attempt: Attempt,
        lease: Duration,
        sources: &[Ipv4Addr],
        token: &str,
    ) -> Answer {
        match &line.by {
            By::Pcp { nonce } => self.ask_pcp(line, *nonce, attempt, lease, sources).await,
            By::NatPmp => self.ask_natpmp(line, attempt, lease).await,
            By::Upnp { remote, .. } => {
                let entry = Entry { external_port: attempt.external_port, ..entry(line, *remote) };
                let answered = match self.igd_of(line).await {
                    Ok(igd) => ask_upnp(&igd, &entry, lease, token).await,
                    Err(error) => Err(error),
                };
                self.heard(answered).unwrap_or_else(|error| upnp_refusal(&error, lease.is_zero()))
            }
        }
    }

    async fn ask_pcp(
        &self,
        line: &Line,
        nonce: Nonce,
        attempt: Attempt,
        lifetime: Duration,
        sources: &[Ipv4Addr],
    ) -> Answer {
        let (external_port, is_exact) = (attempt.external_port, attempt.is_exact);
        let request = pcp::Request { external_port, is_exact, lifetime, sources, ..pcp_request(line, nonce) };
        if attempt.is_restricted {
            let question = pcp::Request { nonce: rand::random(), ..request.clone() };
            let bytes = question.encode_with_impossible_filter();
            match self.exchange(&bytes, |bytes| question.read_answer(bytes)).await {
                None | Some(pcp::Answer::OtherVersion) => return Answer::Silent,
                Some(answer) if !pcp::keeps_filters(answer) => return Answer::CannotRestrict,
                Some(_) => {}
            }
        }
        let answer = self.exchange(&request.encode(), |bytes| request.read_answer(bytes)).await;
        match answer {
            None | Some(pcp::Answer::OtherVersion) => Answer::Silent,
            Some(pcp::Answer::Done(mapped)) => Answer::Granted(Granted {
                address: Some(mapped.address),
                port: mapped.port,
                lease: Some(mapped.lifetime),
                epoch: Some(mapped.epoch),
            }),
            Some(pcp::Answer::Refused(code)) => pcp_refusal(code, attempt),
        }
    }

    async fn ask_natpmp(&self, line: &Line, attempt: Attempt, lifetime: Duration) -> Answer {
        let request = natpmp::Request { external_port: attempt.external_port, lifetime, ..natpmp_request(line) };
        let mapped = match self.exchange(&request.encode(), |bytes| request.read_answer(bytes)).await {
            None => return Answer::Silent,
            Some(natpmp::Answer::Refused(code)) => return natpmp_refusal(code),
            Some(natpmp::Answer::Done(mapped)) => mapped,
        };
        let address = match self.exchange(&natpmp::encode_address(), natpmp::read_address).await {
            Some(natpmp::Answer::Done((_, address))) => Some(address),
            Some(natpmp::Answer::Refused(_)) | None => None,
        };
        let (port, lease, epoch) = (mapped.port, Some(mapped.lifetime), Some(mapped.epoch));
        Answer::Granted(Granted { address, port, lease, epoch })
    }

    pub(crate) async fn check(&mut self, line: &Line, token: &str) -> Checked {
        match &line.by {
            By::Pcp { .. } => {
                let question = pcp::encode_announce(line.local);
                match self.exchange(&question, pcp::read_announce).await {
                    Some(pcp::Answer::Done(epoch)) => Checked::Stands { epoch: Some(epoch), address: None },
                    Some(pcp::Answer::Refused(_) | pcp::Answer::OtherVersion) => Checked::Unsure,
                    None => Checked::Silent,
                }
            }
            By::NatPmp => match self.exchange(&natpmp::encode_address(), natpmp::read_address).await {
                Some(natpmp::Answer::Done((epoch, address))) => {
                    Checked::Stands { epoch: Some(epoch), address: Some(address) }
                }
                Some(natpmp::Answer::Refused(_)) => Checked::Unsure,
                None => Checked::Silent,
            },
            By::Upnp { remote, .. } => {
                let answered = match self.igd_of(line).await {
                    Ok(igd) => check_upnp(&igd, &entry(line, *remote), token).await,
                    Err(error) => Err(error),
                };
                self.heard(answered).unwrap_or(Checked::Silent)
            }
        }
    }

    pub(crate) async fn withdraw(&mut self, line: &Line, token: &str) -> Withdrawn {
        match &line.by {
            By::Pcp { nonce } => {
                let request = pcp_request(line, *nonce);
                match self.exchange(&request.encode(), |bytes| request.read_answer(bytes)).await {
                    Some(pcp::Answer::Done(_)) => Withdrawn::Gone,
                    Some(pcp::Answer::Refused(_) | pcp::Answer::OtherVersion) => Withdrawn::Refused,
                    None => Withdrawn::Silent,
                }
            }
            By::NatPmp => {
                let request = natpmp_request(line);
                match self.exchange(&request.encode(), |bytes| request.read_answer(bytes)).await {
                    Some(natpmp::Answer::Done(_)) => Withdrawn::Gone,
                    Some(natpmp::Answer::Refused(_)) => Withdrawn::Refused,
                    None => Withdrawn::Silent,
                }
            }
            By::Upnp { remote, .. } => {
                let answered = match self.igd_of(line).await {
                    Ok(igd) => withdraw_upnp(&igd, &entry(line, *remote), token).await,
                    Err(error) => Err(error),
                };
                self.heard(answered).unwrap_or_else(|error| match error {
                    UpnpError::Other => Withdrawn::OtherRouter,
                    UpnpError::Refused(_) => Withdrawn::Refused,
                    UpnpError::Silent(_) | UpnpError::Strange(_) => Withdrawn::Silent,
                })
            }
        }
    }

    /// The router by the name under which the mapping was, or is to be, asked for.
    async fn igd_of(&mut self, line: &Line) -> Result<Igd, UpnpError> {
        let By::Upnp { udn, .. } = &line.by else { return Err(UpnpError::Other) };
        if self.igd.is_none() {
            self.igd = Some(Igd::find(&self.network).await?);
        }
        self.igd.clone().filter(|igd| igd.udn == *udn).ok_or(UpnpError::Other)
    }

    /// A router that is silent may have restarted, and be at another port by now: it is searched for the next time.
    fn heard<T>(&mut self, answered: Result<T, UpnpError>) -> Result<T, UpnpError> {
        if let Err(error) = &answered {
            debug!("UPnP: {error}");
            match error {
                UpnpError::Silent(_) | UpnpError::Strange(_) => self.igd = None,
                UpnpError::Refused(_) | UpnpError::Other => {}
            }
        }
        answered
    }

    async fn exchange<T>(&self, question: &[u8], read: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let Network { router, local, ports } = self.network;
        datagram::ask(local, SocketAddrV4::new(router, ports.mapping), question, read).await
    }
}

/// To take it back.
fn pcp_request(line: &Line, nonce: Nonce) -> pcp::Request<'static> {
    pcp::Request {
        local: line.local,
        nonce,
        protocol: line.protocol,
        internal_port: line.internal_port,
        external_port: 0,
        is_exact: false,
        lifetime: Duration::ZERO,
        sources: &[],
    }
}

/// To take it back.
fn natpmp_request(line: &Line) -> natpmp::Request {
    natpmp::Request {
        protocol: line.protocol,
        internal_port: line.internal_port,
        external_port: 0,
        lifetime: Duration::ZERO,
    }
}

/// RFC 6887, 7.4.
fn pcp_refusal(code: u8, attempt: Attempt) -> Answer {
    match code {
        4 => Answer::Silent,
        5 | 13 if attempt.is_restricted => Answer::CannotRestrict,
        11 => Answer::PortTaken,
        _ => Answer::Refused(Why::Refused { way: Way::Pcp, code: code.into(), meaning: pcp::meaning(code) }),
    }
}

/// RFC 6886, 3.5.
fn natpmp_refusal(code: u16) -> Answer {
    Answer::Refused(Why::Refused { way: Way::NatPmp, code, meaning: natpmp::meaning(code) })
}

fn entry(line: &Line, remote: Option<Ipv4Addr>) -> Entry {
    Entry {
        protocol: line.protocol,
        external_port: line.external_port,
        remote,
        local: line.local,
        internal_port: line.internal_port,
    }
}

fn is_ours(present: &Present, entry: &Entry, token: &str) -> bool {
    let is_same_place = present.local == Some(entry.local) && present.internal_port == entry.internal_port;
    is_same_place || present.description == token
}

/// Adds it, and has the router say that it is there. Some routers overwrite whatever is under a port, so it is looked
/// up first.
async fn ask_upnp(igd: &Igd, entry: &Entry, lease: Duration, token: &str) -> Result<Answer, UpnpError> {
    let before = igd.look_up(entry).await?;
    if before.is_some_and(|present| !is_ours(&present, entry, token)) {
        return Ok(Answer::PortTaken);
    }
    igd.add(entry, lease, token).await?;
    let Some(present) = igd.look_up(entry).await?.filter(|present| is_ours(present, entry, token)) else {
        return Err(UpnpError::Strange("it says yes and has no such mapping".to_owned()));
    };
    let address = igd.external_address().await?;
    // What it says to us decides when it is asked again, never later than what we asked for.
    let lease = present.lease.map(|left| if lease.is_zero() { left } else { left.min(lease) });
    Ok(Answer::Granted(Granted { address: Some(address), port: entry.external_port, lease, epoch: None }))
}

fn upnp_refusal(error: &UpnpError, is_permanent: bool) -> Answer {
    match error {
        UpnpError::Refused(fault) => match fault.remedy(is_permanent) {
            Remedy::AnotherPort => Answer::PortTaken,
            Remedy::SamePort => Answer::SamePortOnly,
            Remedy::Permanent => Answer::PermanentOnly,
            Remedy::NoSources => Answer::CannotRestrict,
            Remedy::None => Answer::Refused(refused(*fault)),
        },
        // Whether it was made is not known.
        UpnpError::Silent(_) | UpnpError::Strange(_) | UpnpError::Other => Answer::Silent,
    }
}

fn refused(fault: Fault) -> Why {
    Why::Refused { way: Way::Upnp, code: fault.code, meaning: fault.meaning() }
}

async fn check_upnp(igd: &Igd, entry: &Entry, token: &str) -> Result<Checked, UpnpError> {
    match igd.look_up(entry).await? {
        Some(present) if is_ours(&present, entry, token) => {
            Ok(Checked::Stands { epoch: None, address: Some(igd.external_address().await?) })
        }
        Some(_) | None => Ok(Checked::Lost),
    }
}

/// Gone is what the router says is not there. A mapping of somebody else under this port is not touched.
async fn withdraw_upnp(igd: &Igd, entry: &Entry, token: &str) -> Result<Withdrawn, UpnpError> {
    let is_there = async || {
        let present = igd.look_up(entry).await?;
        Ok::<_, UpnpError>(present.is_some_and(|present| is_ours(&present, entry, token)))
    };
    if !is_there().await? {
        return Ok(Withdrawn::Gone);
    }
    igd.delete(entry).await?;
    Ok(if is_there().await? { Withdrawn::Refused } else { Withdrawn::Gone })
}
