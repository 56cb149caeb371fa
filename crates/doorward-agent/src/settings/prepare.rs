//! The keys of a service that is made ready for its visitors.

use super::file::Fault;
use crate::prepare::{Address, Command, Deed, Hook, Plan, Probe, Readiness, Step};
use crate::target::{Target, Verify};
use crate::wake::Wake;
use doorward_core::site::Host;
use doorward_core::span::parse_span;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// As the service's table has them.
pub(super) struct PrepareKeys<'a> {
    pub(super) prepare: Option<&'a Spanned<Vec<Spanned<StepTable>>>>,
    pub(super) release: Option<&'a Spanned<Vec<Spanned<StepTable>>>>,
    pub(super) ready: Option<&'a Spanned<ReadyTable>>,
    pub(super) wake_on_visit: Option<&'a Spanned<bool>>,
    pub(super) linger: Option<&'a Spanned<String>>,
}

/// One step: `wake`, `http` or `command`, and what goes with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StepTable {
    wake: Option<String>,
    broadcast: Option<Ipv4Addr>,
    interface: Option<String>,
    http: Option<String>,
    method: Option<String>,
    status: Option<u16>,
    headers: Option<BTreeMap<String, String>>,
    headers_from: Option<PathBuf>,
    body: Option<String>,
    verify: Option<String>,
    command: Option<Vec<String>>,
    title: Option<String>,
    limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReadyTable {
    tcp: Option<String>,
    http: Option<String>,
    status: Option<u16>,
    verify: Option<String>,
    every: Option<String>,
    limit: Option<String>,
}

const STEP_LIMIT: Duration = Duration::from_secs(30);
const READY_LIMIT: Duration = Duration::from_secs(180);
const READY_EVERY: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(300);
/// Whoever waits longer has gone.
const LONGEST: Duration = Duration::from_secs(3600);
const LONGEST_LINGER: Duration = Duration::from_secs(24 * 3600);
const MOST_STEPS: usize = 16;
const MOST_TITLE: usize = 80;

impl PrepareKeys<'_> {
    pub(super) fn read(&self) -> Result<Option<Plan>, Fault> {
        let Some(prepare) = self.prepare else {
            let others = [
                self.release.map(Spanned::span),
                self.ready.map(Spanned::span),
                self.wake_on_visit.map(Spanned::span),
                self.linger.map(Spanned::span),
            ];
            return match others.into_iter().flatten().next() {
                Some(at) => {
                    Err(Fault::new(&at, "this is for services that say with `prepare` how they are made ready"))
                }
                None => Ok(None),
            };
        };
        let linger = self.linger.map(|given| {
            span(given.get_ref(), Duration::ZERO..LONGEST_LINGER).map_err(|why| Fault::new(&given.span(), why))
        });
        let ready = self.ready.map(|given| given.get_ref().read().map_err(|why| Fault::new(&given.span(), why)));
        Ok(Some(Plan {
            prepare: steps(prepare)?,
            release: self.release.map(steps).transpose()?.unwrap_or_default(),
            ready: ready.transpose()?,
            on_visit: self.wake_on_visit.is_some_and(|given| *given.get_ref()),
            linger: linger.transpose()?.unwrap_or(LINGER),
        }))
    }
}

fn steps(list: &Spanned<Vec<Spanned<StepTable>>>) -> Result<Vec<Step>, Fault> {
    if list.get_ref().is_empty() || list.get_ref().len() > MOST_STEPS {
        return Err(Fault::new(&list.span(), format!("write 1 to {MOST_STEPS} steps, or leave the key out")));
    }
    let read = |table: &Spanned<StepTable>| table.get_ref().read().map_err(|why| Fault::new(&table.span(), why));
    list.get_ref().iter().map(read).collect()
}

impl StepTable {
    fn read(&self) -> Result<Step, String> {
        let deed = match (&self.wake, &self.http, &self.command) {
            (Some(mac), None, None) => Deed::Wake(self.wake(mac)?),
            (None, Some(url), None) => Deed::Hook(self.hook(url)?),
            (None, None, Some(words)) => Deed::Command(self.command(words)?),
            _ => return Err("a step has one of wake, http and command".to_owned()),
        };
        if self
            .title
            .as_ref()
            .is_some_and(|title| title.chars().count() > MOST_TITLE || title.contains(char::is_control))
        {
            return Err(format!("a step's title has at most {MOST_TITLE} characters, on one line"));
        }
        let limit = self.limit.as_deref().map(limit).transpose()?.unwrap_or(STEP_LIMIT);
        Ok(Step { deed, title: self.title.clone(), limit })
    }

    fn has_hook_keys(&self) -> bool {
        self.method.is_some()
            || self.status.is_some()
            || self.headers.is_some()
            || self.headers_from.is_some()
            || self.body.is_some()
            || self.verify.is_some()
    }

    fn has_wake_keys(&self) -> bool {
        self.broadcast.is_some() || self.interface.is_some()
    }

    fn wake(&self, mac: &str) -> Result<Wake, String> {
        if self.has_hook_keys() {
            return Err("beside wake stand broadcast, interface, title and limit".to_owned());
        }
        // netdevice(7): IFNAMSIZ is 16, its NUL included.
        let is_name =
            |name: &str| (1..16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if self.interface.as_deref().is_some_and(|name| !is_name(name)) {
            return Err("interface is a name as `ip link` shows it".to_owned());
        }
        let mac = mac.parse().map_err(|error: crate::wake::NotAMac| error.to_string())?;
        Ok(Wake { mac, broadcast: self.broadcast.unwrap_or(Ipv4Addr::BROADCAST), interface: self.interface.clone() })
    }

    fn hook(&self, url: &str) -> Result<Hook, String> {
        if self.has_wake_keys() {
            return Err(
                "beside http stand method, status, headers, headers-from, body, verify, title and limit".to_owned()
            );
        }
        let method = self.method.as_deref().unwrap_or("POST");
        let is_word = method.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_word && method != "CONNECT");
        let header = |(name, value): (&String, &String)| {
            let refuse = || format!("{name:?} is not a header with a value that can be sent");
            let name = HeaderName::try_from(name.as_str()).map_err(|_| refuse())?;
            Ok::<_, String>((name, HeaderValue::from_str(value).map_err(|_| refuse())?))
        };
        if self.headers_from.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err("headers-from is a whole path, from / on".to_owned());
        }
        Ok(Hook {
            address: address(url, self.verify.as_deref())?,
            method: method.ok_or("method is one of HTTP, as GET, POST or PUT")?,
            status: status(self.status)?,
            headers: self.headers.iter().flatten().map(header).collect::<Result<_, _>>()?,
            headers_from: self.headers_from.clone(),
            body: self.body.clone(),
        })
    }

    fn command(&self, words: &[String]) -> Result<Command, String> {
        if self.has_hook_keys() || self.has_wake_keys() {
            return Err("beside command stand title and limit".to_owned());
        }
        let (program, arguments) = words.split_first().ok_or("a command names a program")?;
        // What PATH finds another day, or a folder above leads to, is not what the owner allowed.
        if !program.starts_with('/') || program.split('/').any(|part| part == "..") {
            return Err("a command is a list: a program with its whole path, from / on, and its arguments, which no shell reads".to_owned());
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("a command has no NUL in it".to_owned());
        }
        Ok(Command { program: program.into(), arguments: arguments.to_vec() })
    }
}

impl ReadyTable {
    fn read(&self) -> Result<Readiness, String> {
        let probe = match (&self.tcp, &self.http) {
            (Some(place), None) if self.status.is_none() && self.verify.is_none() => {
                let (host, port) = tcp_place(place)?;
                Probe::Tcp { host, port }
            }
            (None, Some(url)) => Probe::Http(Hook {
                address: address(url, self.verify.as_deref())?,
                method: Method::GET,
                status: status(self.status)?,
                headers: Vec::new(),
                headers_from: None,
                body: None,
            }),
            _ => return Err("write { tcp = \"host:port\" } or { http = \"http://…\", status = 200 }".to_owned()),
        };
        let every = self.every.as_deref().map(|given| span(given, Duration::from_secs(1)..Duration::from_secs(60)));
        Ok(Readiness {
            probe,
            every: every.transpose()?.unwrap_or(READY_EVERY),
            limit: self.limit.as_deref().map(limit).transpose()?.unwrap_or(READY_LIMIT),
        })
    }
}

fn tcp_place(place: &str) -> Result<(Host, u16), String> {
    match Target::parse(&format!("tcp://{place}")) {
        Ok(Target::Tcp(crate::target::Place::Network { host, port })) => Ok((host, port)),
        Ok(_) => Err("write the place as host:port".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A web address with its path and query.
fn address(url: &str, verify: Option<&str>) -> Result<Address, String> {
    let refuse = || "an address is written as http://host:port/path or https://…".to_owned();
    let parts = url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme));
    let (scheme, rest) = parts.ok_or_else(refuse)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("the path of an address is of ASCII without blanks: write %20 for a blank".to_owned());
    }
    let verify = verify.map(Verify::parse).transpose().map_err(|why| why.to_string())?;
    match Target::parse(&format!("{scheme}://{authority}")).map_err(|error| error.to_string())? {
        Target::Http(crate::target::Place::Network { host, port }) if verify.is_none() => {
            Ok(Address { verify: None, host, port, path })
        }
        Target::Https { host, port, .. } => {
            Ok(Address { verify: Some(verify.unwrap_or(Verify::System)), host, port, path })
        }
        Target::Http(_) if verify.is_some() => Err("verify is for https:// addresses".to_owned()),
        Target::Http(_)
        | Target::H2c(_)
        | Target::H2 { .. }
        | Target::Tcp(_)
        | Target::Udp { .. }
        | Target::Camera(_) => Err(refuse()),
    }
}

fn status(given: Option<u16>) -> Result<Option<u16>, String> {
    match given {
        Some(status) if !(100..600).contains(&status) => Err("a status is a number from 100 to 599".to_owned()),
        given => Ok(given),
    }
}

fn limit(given: &str) -> Result<Duration, String> {
    span(given, Duration::from_secs(1)..LONGEST)
}

fn span(given: &str, Range { start, end }: Range<Duration>) -> Result<Duration, String> {
    let read = parse_span(given)?;
    let read = Duration::try_from(read).map_err(|_| "a span is not negative".to_owned())?;
    if read < start || read > end {
        return Err(format!("{given} is not from {} to {} s", start.as_secs(), end.as_secs()));
    }
    Ok(read)
}
