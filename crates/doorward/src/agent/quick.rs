//! `doorward http 5000 --name printer1`: one service, now, for as long as the command runs. Never public by itself.

use super::local::{self, Answer};
use super::{Places, Start, require_membership};
use crate::{invite, password, shutdown, terminal};
use anyhow::{Context, anyhow, bail};
use doorward_agent::presets::Preset;
use doorward_agent::{Service, Target, Verify, WebWish};
use doorward_core::Secret;
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::names::{Label, PathPrefix};
use doorward_core::service::{EntranceWish, ServiceKind};
use doorward_core::web::{HeaderMode, MAX_MOUNTS};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug)]
pub struct Wish {
    pub kind: ServiceKind,
    /// `5000`, `host:5000`, a URL or a socket's path.
    pub target: String,
    pub name: Option<String>,
    pub is_public: bool,
    /// By SSH with a sender key, and no other way.
    pub is_for_senders: bool,
    pub from: Vec<String>,
    /// The public port of a tcp or udp service; 0: the gateway chooses.
    pub port: Option<u16>,
    pub requests: Requests,
}

/// How those to a web service are treated; as the keys of `agent.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// The application that it is.
    pub preset: Option<String>,
    pub headers: Option<HeaderMode>,
    pub verify: Option<Verify>,
    pub mounts: Vec<(PathPrefix, String)>,
}

/// A service and what its visitors must be told.
pub struct Prepared {
    pub service: Service,
    pub password: Option<Secret<String>>,
}

impl Wish {
    pub fn prepare(self) -> anyhow::Result<Prepared> {
        let (target, base) = Target::parse_short(self.kind, &self.target)?;
        let name = match &self.name {
            Some(name) => Label::parse(name).context("--name")?,
            None => self.default_name(&target)?,
        };
        if let (true, Some(port)) = (self.kind.has_web_address(), self.port) {
            bail!(
                "--port is for raw ports: a web service is reached by its name. Leave --port out, or:\n\n    \
                 doorward tcp {} --port {port} --public",
                self.target
            );
        }
        let from = (!self.from.is_empty()).then(|| self.from.clone());
        if self.is_for_senders {
            return self.for_senders(name, target, from);
        }
        let needs_password = self.kind.has_web_address() && !self.is_public;
        if !self.kind.has_web_address() && !self.is_public && from.is_none() {
            bail!(
                "a raw {kind} port has no password: say who may use it. For everybody:\n\n    \
                 doorward {kind} {} --public\n\nor for some networks only:\n\n    doorward {kind} {} --from 192.0.2.0/24",
                self.target,
                self.target,
                kind = self.kind
            );
        }
        let secret = needs_password.then(password::generate);
        let mut access = match &secret {
            Some(secret) => password::policy(password::USER, secret),
            None => PolicyDocument { who: WhoDocument::Public, ..PolicyDocument::default() },
        };
        access.from = from;
        // Its message names the key of a file.
        access.to_policy().map_err(|error| anyhow!("{}", error.to_string().replace("access.from:", "--from:")))?;
        let mut service = Service::new(name, target, access);
        if self.kind == ServiceKind::Http {
            service = service.with_web(&self.requests.wish()?, base)?;
        } else if self.requests != Requests::default() {
            bail!("--preset, --headers, --verify and --mount are for web services: use `doorward http`, or agent.toml");
        }
        if self.requests.verify.is_some() && !has_tls(&service) {
            bail!("--verify is for https:// targets; here is none");
        }
        match self.kind {
            ServiceKind::Http | ServiceKind::Camera => {}
            ServiceKind::Tcp => service.offer.entrances.push(EntranceWish::TcpPort(self.port.unwrap_or(0))),
            ServiceKind::Udp => service.offer.entrances.push(EntranceWish::UdpPort(self.port.unwrap_or(0))),
        }
        Ok(Prepared { service, password: secret })
    }

    /// Addressed by the target's port, which has no public one then.
    fn for_senders(&self, name: Label, target: Target, from: Option<Vec<String>>) -> anyhow::Result<Prepared> {
        let (ServiceKind::Tcp, Some(port)) = (self.kind, target.port()) else {
            bail!("--senders is for a TCP port: `doorward tcp 5454 --senders`");
        };
        if self.requests != Requests::default() {
            bail!("--preset, --headers, --verify and --mount are for web services");
        }
        let access = PolicyDocument { who: WhoDocument::Senders, from, ..PolicyDocument::default() };
        access.to_policy().map_err(|error| anyhow!("{}", error.to_string().replace("access.from:", "--from:")))?;
        let mut service = Service::new(name, target, access);
        service.offer.virtual_port = Some(port);
        Ok(Prepared { service, password: None })
    }

    fn default_name(&self, target: &Target) -> anyhow::Result<Label> {
        let name = match target.port() {
            Some(22) => "ssh".to_owned(),
            Some(port) => format!("{}-{port}", self.kind),
            None => self.kind.to_string(),
        };
        Ok(Label::parse(&name)?)
    }
}

impl Requests {
    fn wish(&self) -> anyhow::Result<WebWish> {
        let preset = self.preset.as_deref().map(|name| Preset::find(name).context("--preset")).transpose()?;
        let mounts = self.mounts.clone();
        let twice = mounts.iter().enumerate().find(|(n, mount)| mounts[..*n].iter().any(|other| other.0 == mount.0));
        if let Some((_, (path, _))) = twice {
            bail!("--mount: two targets are mounted at {path}");
        }
        if mounts.len() > MAX_MOUNTS {
            bail!("--mount: a service has room for {MAX_MOUNTS} mounts");
        }
        Ok(WebWish { preset, headers: self.headers, verify: self.verify.unwrap_or_default(), mounts })
    }
}

fn has_tls(service: &Service) -> bool {
    let mut targets = std::iter::once(&service.target).chain(service.mounts.iter().map(|(_, target)| target));
    targets.any(|target| matches!(target, Target::Https { .. }))
}

/// Offers the service until the command is ended: through the agent that runs here, or as one.
pub async fn run(places: Places, wish: Wish) -> anyhow::Result<()> {
    require_membership(&places.state)?;
    let Prepared { service, password } = wish.prepare()?;
    let mut teller = Teller { password, told: None };
    if let Some(mut lent) = local::lend(&places.state, &service).await? {
        loop {
            tokio::select! {
                () = shutdown::requested() => return Ok(()),
                news = lent.next() => match news? {
                    Some(answer) => teller.tell(&answer)?,
                    None => bail!("the agent that offered this service stopped"),
                },
            }
        }
    }
    let name = service.offer.name.clone();
    let stop = CancellationToken::new();
    let mut agent = super::start(&places, Start { quick: Some(service), ..Start::default() }, stop.clone()).await?;
    loop {
        let answer = Answer::about(&agent.status.borrow_and_update(), &name);
        teller.tell(&answer)?;
        tokio::select! {
            () = shutdown::requested() => break,
            changed = agent.status.changed() => if changed.is_err() { break },
        }
    }
    stop.cancel();
    agent.ended.await?
}

/// Says each thing once.
struct Teller {
    password: Option<Secret<String>>,
    told: Option<Answer>,
}

impl Teller {
    fn tell(&mut self, answer: &Answer) -> anyhow::Result<()> {
        if let Some(why) = &answer.refused {
            bail!("{why}");
        }
        if self.told.as_ref() == Some(answer) {
            return Ok(());
        }
        if let Some(waiting) = &answer.waiting {
            eprintln!("… {waiting}");
        }
        for problem in &answer.problems {
            eprintln!("problem: {problem}");
        }
        for note in &answer.notes {
            eprintln!("note: {note}");
        }
        let before = self.told.as_ref().map(|told| told.reached_by.clone()).unwrap_or_default();
        if !answer.reached_by.is_empty() && before != answer.reached_by {
            self.announce(&answer.reached_by)?;
        }
        self.told = Some(answer.clone());
        Ok(())
    }

    fn announce(&mut self, reached_by: &[String]) -> anyhow::Result<()> {
        let mut text = "Reached by:\n".to_owned();
        for url in reached_by {
            text += &format!("  {url}\n");
        }
        // Once: it stays valid, but it need not be on every screen.
        if let Some(password) = self.password.take() {
            text += &format!("\n  user      {}\n  password  {}\n", password::USER, password.expose());
        }
        let url = reached_by.first().filter(|url| url.starts_with("http"));
        if let Some(code) = url.and_then(|url| invite::qr_code(url)) {
            text += &format!("\n{code}\n");
        }
        terminal::print(&(text + "Ctrl-C ends it.\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_for_a_web_service_is_refused_with_the_command_that_has_one() {
        let wish = Wish {
            kind: ServiceKind::Http,
            target: "5000".to_owned(),
            name: None,
            is_public: true,
            is_for_senders: false,
            from: Vec::new(),
            port: Some(20_005),
            requests: Requests::default(),
        };
        let error = wish.clone().prepare().err().expect("it is refused").to_string();
        assert!(error.contains("doorward tcp 5000 --port 20005 --public"), "{error}");
        let service = Wish { port: None, ..wish.clone() }.prepare().unwrap().service;
        assert_eq!(service.offer.entrances, []);
        let raw = Wish { kind: ServiceKind::Tcp, ..wish }.prepare().unwrap().service;
        assert_eq!(raw.offer.entrances, [EntranceWish::TcpPort(20_005)]);
    }

    #[test]
    fn what_is_for_senders_has_its_targets_port_and_no_public_one() {
        let wish = Wish {
            kind: ServiceKind::Tcp,
            target: "5454".to_owned(),
            name: Some("netgear".to_owned()),
            is_public: false,
            is_for_senders: true,
            from: Vec::new(),
            port: None,
            requests: Requests::default(),
        };
        let offer = wish.clone().prepare().unwrap().service.offer;
        assert_eq!((offer.virtual_port, offer.access.who), (Some(5454), WhoDocument::Senders));
        assert_eq!(offer.entrances, []);
        let web = Wish { kind: ServiceKind::Http, ..wish };
        assert!(web.prepare().err().unwrap().to_string().contains("doorward tcp 5454 --senders"));
    }
}
