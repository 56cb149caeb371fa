//! `doorward services`: what there is, who may use it, where it is reached, and what stands in the way.

use super::devices::{self, Device};
use super::when::span;
use super::{AskError, Form, Owner, ServicePath, Table};
use doorward_core::access::{ApprovalDocument, HowDocument, LimitsDocument, Need, ScheduleDocument, WhoDocument};
use doorward_core::hop::HopFailure;
use doorward_core::prepare::Phase;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    pub device: String,
    pub name: String,
    title: String,
    pub kind: String,
    pub standing: String,
    pub access: Access,
    /// `device` or `store`.
    pub access_home: String,
    pub reached_by: Vec<String>,
    pub hosts: Vec<Host>,
    pub ports: Vec<Port>,
    pub failure: Option<Failure>,
    #[serde(default)]
    pub preparation: Option<Preparation>,
    #[serde(default)]
    pub cameras: Vec<Camera>,
}

/// How a camera does, that is the service or mounted in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Camera {
    mount: Option<String>,
    viewers: u32,
    frames_per_second: f64,
    kilobytes_per_second: f64,
    age: Option<f64>,
    live: bool,
    words: String,
}

/// A policy without its passwords.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Access {
    pub who: WhoDocument,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    people: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    pub how: Option<HowDocument>,
    pub max_duration: Option<String>,
    pub max_idle: Option<String>,
    pub share_links: Option<String>,
    pub from: Option<Vec<String>>,
    pub when: Option<ScheduleDocument>,
    #[serde(default)]
    needs: Vec<Need>,
    approval: Option<ApprovalDocument>,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    take_over: Vec<String>,
    #[serde(default)]
    first_comer: bool,
    limits: Option<LimitsDocument>,
    #[serde(default)]
    pub open_paths: Vec<String>,
    #[serde(default)]
    pub certificates: bool,
}

#[derive(Debug, Deserialize)]
pub struct Host {
    pub host: String,
    pub prefix: Option<String>,
    routed: bool,
}

#[derive(Debug, Deserialize)]
pub struct Port {
    pub protocol: String,
    pub port: u16,
    routed: bool,
}

#[derive(Debug, Deserialize)]
pub struct Failure {
    pub hop: HopFailure,
    pub what: String,
    pub since: Timestamp,
}

/// How far a service is that is made ready for its visitors.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preparation {
    pub phase: Option<Phase>,
    pub step: u16,
    pub steps: u16,
    pub what: String,
    pub since: Option<Timestamp>,
    pub error: Option<String>,
    pub retry_at: Option<Timestamp>,
}

pub async fn all(owner: &Owner) -> Result<Vec<Service>, AskError> {
    owner.get("/services").await?.read()
}

/// One of them, or the gateway's own words for that there is none.
pub async fn find(owner: &Owner, path: &ServicePath) -> Result<Service, AskError> {
    let found = all(owner).await?.into_iter().find(|s| s.device == path.device && s.name == path.service);
    found.ok_or_else(|| AskError::Refused {
        status: http::StatusCode::NOT_FOUND,
        what: format!("there is no service \"{path}\""),
        remedy: Some("list what there is with `doorward services`".to_owned()),
    })
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/services").await?;
    let services: Vec<Service> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if services.is_empty() {
        return Ok("No service is offered yet. On a device: `doorward http 5000 --name printer1`.\n".to_owned());
    }
    let devices = devices::all(owner).await?;
    let devices: HashMap<_, _> = devices.iter().map(|device| (device.name.as_str(), device)).collect();
    let mut table = Table::new(&["SERVICE", "KIND", "STATE", "WHO MAY USE IT"]);
    for service in &services {
        service.describe(devices.get(service.device.as_str()).copied(), &mut table, now);
    }
    Ok(table.to_string())
}

impl Service {
    pub fn path(&self) -> String {
        format!("{}/{}", self.device, self.name)
    }

    fn describe(&self, device: Option<&Device>, table: &mut Table, now: Timestamp) {
        let state = match (self.standing.as_str(), device) {
            ("offered", Some(device)) => device.state(now),
            ("offered", None) => "?".to_owned(),
            ("withdrawn", _) => "withdrawn".to_owned(),
            (_, _) => "revoked".to_owned(),
        };
        table.row([self.path(), self.kind.clone(), state, words(&self.access)]);
        if self.title != self.name {
            table.below(&format!("\"{}\"", self.title));
        }
        for place in &self.reached_by {
            table.below(place);
        }
        let unused = self.kept();
        if !unused.is_empty() {
            table.below(&format!("reserved: {}", unused.join(", ")));
        }
        if let Some(words) = self.preparation.as_ref().and_then(|preparation| preparation.words(now)) {
            table.below(&words);
        }
        for camera in &self.cameras {
            table.below(&camera.in_words());
        }
        if let Some(failure) = &self.failure {
            table.below(&format!("failing for {}: {}", span(failure.since.duration_until(now)), failure.what));
        }
    }

    /// What belongs to it but leads nowhere now.
    fn kept(&self) -> Vec<String> {
        let hosts = self.hosts.iter().filter(|host| !host.routed).map(Host::text);
        let ports = self.ports.iter().filter(|port| !port.routed).map(Port::text);
        hosts.chain(ports).collect()
    }
}

impl Preparation {
    /// `None`: its device tells nothing.
    pub fn words(&self, now: Timestamp) -> Option<String> {
        let Self { step, steps, what, .. } = self;
        let phase = self.phase?;
        let mut words = phase.to_string();
        if let Some(since) = self.since.filter(|_| phase != Phase::Resting) {
            words += &format!(" for {}", span(since.duration_until(now)));
        }
        if *step > 0 {
            words += &format!(", step {step} of {steps}: {what}");
        }
        if let Some(error) = &self.error {
            words += &format!(" failed: {error}");
        }
        if let Some(at) = self.retry_at.filter(|at| now < *at) {
            words += &format!("; again in {}", span(now.duration_until(at)));
        }
        Some(words)
    }
}

impl Camera {
    fn in_words(&self) -> String {
        let Self { mount, viewers, frames_per_second, kilobytes_per_second, age, live, words } = self;
        let which = mount.as_deref().map_or_else(|| "camera".to_owned(), |mount| format!("camera at {mount}"));
        if *viewers == 0 {
            return format!("{which}: nobody looks");
        }
        let mut said = format!(
            "{which}: {viewers} looking, {frames_per_second:.1} pictures a second, {kilobytes_per_second:.0} kB/s"
        );
        if let Some(age) = age {
            said += &format!(", {age:.1} s old");
        }
        if !live {
            let why = if words.is_empty() { "no pictures" } else { words };
            said += &format!("; {why}");
        }
        said
    }
}

impl Host {
    pub fn text(&self) -> String {
        format!("{}{}", self.host, self.prefix.as_deref().unwrap_or_default())
    }
}

impl Port {
    pub fn text(&self) -> String {
        format!("{}/{}", self.protocol, self.port)
    }
}

/// A policy in one line.
pub fn words(access: &Access) -> String {
    let mut words = who(access);
    if access.who == WhoDocument::Nobody {
        return words;
    }
    if let Some(from) = &access.from {
        words += &format!(", from {}", networks(from));
    }
    if let Some(when) = &access.when {
        words += &format!(", open {} {}", hours(&when.open), when.zone);
    }
    if !access.open_paths.is_empty() {
        words += &format!("; nobody is asked at {}", access.open_paths.join(", "));
    }
    if access.certificates {
        words += "; by certificate, too";
    }
    words
}

pub fn who(access: &Access) -> String {
    match access.who {
        WhoDocument::Nobody => "nobody".to_owned(),
        WhoDocument::Public => "everybody".to_owned(),
        WhoDocument::Password => format!("by password: {}", access.users.join(", ")),
        WhoDocument::Senders => "senders, each with a key of theirs".to_owned(),
        WhoDocument::People => {
            let groups = access.groups.iter().map(|group| format!("all of {group}"));
            let named: Vec<_> = access.people.iter().cloned().chain(groups).collect();
            // Whoever only uses it is not told who else does.
            let these = if named.is_empty() {
                "certain people".to_owned()
            } else {
                format!("these people: {}", named.join(", "))
            };
            these + &on_request(access)
        }
    }
}

fn on_request(access: &Access) -> String {
    match access.how {
        None | Some(HowDocument::SignedIn) => String::new(),
        Some(HowDocument::OnRequest) => {
            let most = access.max_duration.as_ref().map(|span| format!(" of {span} at most")).unwrap_or_default();
            let idle = access.max_idle.as_ref().map(|span| format!(", over after {span} without use"));
            format!(", each in a session{most}{}", idle.unwrap_or_default())
        }
    }
}

/// What is said beside who, from where and when, by what it is about.
pub fn rules(access: &Access) -> Vec<(&'static str, String)> {
    let mut rules = Vec::new();
    if !access.needs.is_empty() {
        let words: Vec<_> = access.needs.iter().map(|need| need.word()).collect();
        rules.push(("login with", words.join(" and ")));
    }
    rules.extend(access.approval.as_ref().map(|approval| ("approved by", format!("somebody of {}", approval.by))));
    if access.exclusive {
        let over = access.take_over.join(", ");
        let over = if over.is_empty() { over } else { format!("; {over} may take it over") };
        rules.push(("exclusive", format!("one person at a time{over}")));
    }
    if access.first_comer {
        rules.push(("first comer", "let in at an open session's port, where its person asks for that".to_owned()));
    }
    let Some(limits) = &access.limits else { return rules };
    let each = |what: &str, each: String| format!("{each} {what}");
    let all = [
        limits.connections.map(|n| each("visits at once", n.to_string())),
        limits.connections_each.map(|n| each("of each visitor", n.to_string())),
        limits.rate.clone().map(|rate| each("a second", rate)),
        limits.rate_each.clone().map(|rate| each("a second for each visit", rate)),
        limits.per_day.clone().map(|size| each("a day", size)),
        limits.per_month.clone().map(|size| each("a month", size)),
        limits.zone.clone().map(|zone| format!("by the clock of {zone}")),
        limits.max_fps.map(|n| each("pictures a second", n.to_string())),
        limits.max_kbit.map(|n| each("kbit a second of pictures", n.to_string())),
        limits.read_only.then(|| "only to look at".to_owned()),
    ];
    rules.push(("limits", all.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    rules
}

pub fn networks(from: &[String]) -> String {
    if from.is_empty() { "nowhere".to_owned() } else { from.join(", ") }
}

pub fn hours(open: &[String]) -> String {
    if open.is_empty() { "never".to_owned() } else { open.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_says_who_looks_and_what_they_see() {
        let said = |camera: serde_json::Value| serde_json::from_value::<Camera>(camera).unwrap().in_words();
        let mut camera = serde_json::json!({ "mount": null, "viewers": 3, "frames-per-second": 14.9,
            "kilobytes-per-second": 748.1, "age": 0.2, "width": 1280, "height": 720, "live": true, "words": "", "faults": "" });
        assert_eq!(said(camera.clone()), "camera: 3 looking, 14.9 pictures a second, 748 kB/s, 0.2 s old");
        (camera["live"], camera["words"]) = (false.into(), "the camera answers 503".into());
        assert!(said(camera.clone()).ends_with("; the camera answers 503"));
        (camera["mount"], camera["viewers"]) = ("/webcam/".into(), 0.into());
        assert_eq!(said(camera), "camera at /webcam/: nobody looks");
    }
}
