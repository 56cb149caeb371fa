mod cameras;

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Body, Problem, Seen, Versioned};
use crate::asker::Asker;
use crate::describe::Done;
use crate::paging::{Listed, Paging};
use cameras::{CameraBody, cameras};
use doorward_control::{AccessHome, Preparation, Protocol, Reservation, ServiceRecord};
use doorward_core::access::{
    ApprovalDocument, HowDocument, LimitsDocument, Need, PolicyDocument, ScheduleDocument, WhoDocument,
};
use doorward_core::hop::HopFailure;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::prepare::Phase;
use doorward_core::schema::Instant;
use doorward_core::service::{ServiceKind, Standing};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceBody {
    device: Label,
    name: Label,
    title: String,
    kind: ServiceKind,
    standing: &'static str,
    virtual_port: Option<u16>,
    main: bool,
    access: AccessBody,
    access_home: AccessHome,
    reached_by: Vec<String>,
    hosts: Vec<HostBody>,
    ports: Vec<PortBody>,
    failure: Option<FailureBody>,
    /// Of a service that is made ready for its visitors.
    preparation: Option<PreparationBody>,
    /// The service itself, or what is mounted in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cameras: Vec<CameraBody>,
    version: i64,
}

/// A policy as far as people read it: whose password is right, but nothing to try passwords against.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AccessBody {
    who: WhoDocument,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    people: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<HowDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_duration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_idle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_links: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<ScheduleDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<Need>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalDocument>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exclusive: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    take_over: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    first_comer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open_paths: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    certificates: bool,
}

impl AccessBody {
    fn of(policy: &PolicyDocument) -> Self {
        let policy = policy.clone();
        Self {
            who: policy.who,
            users: policy.passwords.into_keys().collect(),
            people: policy.people,
            groups: policy.groups,
            how: policy.how,
            max_duration: policy.max_duration,
            max_idle: policy.max_idle,
            from: policy.from,
            when: policy.when,
            needs: policy.needs,
            approval: policy.approval,
            exclusive: policy.exclusive,
            take_over: policy.take_over,
            claim: policy.claim,
            first_comer: policy.first_comer,
            limits: policy.limits,
            share_links: policy.share_links,
            open_paths: policy.open_paths,
            certificates: policy.certificates,
        }
    }

    /// What whoever may come in needs to know. Who else may is not theirs to know.
    fn for_visitors(policy: &PolicyDocument) -> Self {
        let (users, people, groups, from, share_links) = (Vec::new(), Vec::new(), Vec::new(), None, None);
        Self { users, people, groups, from, share_links, ..Self::of(policy) }
    }
}

#[derive(Serialize, JsonSchema)]
struct HostBody {
    host: HostName,
    prefix: Option<PathPrefix>,
    routed: bool,
}

#[derive(Serialize, JsonSchema)]
struct PortBody {
    protocol: Protocol,
    port: u16,
    routed: bool,
}

#[derive(Serialize, JsonSchema)]
struct FailureBody {
    hop: HopFailure,
    what: String,
    #[schemars(with = "Instant")]
    since: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct PreparationBody {
    /// `null`: its device tells nothing now.
    phase: Option<Phase>,
    /// From 1; 0 where no step runs.
    step: u16,
    steps: u16,
    what: String,
    #[schemars(with = "Option<Instant>")]
    since: Option<Timestamp>,
    error: Option<String>,
    #[schemars(with = "Option<Instant>")]
    retry_at: Option<Timestamp>,
}

impl PreparationBody {
    /// `is_told_why`: errors name addresses of the device's network, which visitors need not know.
    fn of(seen: Option<Preparation>, is_told_why: bool) -> Self {
        match seen {
            None => {
                let (step, steps, what) = (0, 0, String::new());
                Self { phase: None, step, steps, what, since: None, error: None, retry_at: None }
            }
            Some(Preparation { phase, step, steps, what, since, error, retry_at }) => {
                let error = error.filter(|_| is_told_why);
                Self { phase: Some(phase), step, steps, what, since: Some(since), error, retry_at }
            }
        }
    }
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<ServiceBody>, Problem> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let after = paging.after::<(String, String)>()?;
    let after = after.as_ref().map(|(device, name)| (device.as_str(), name.as_str()));
    let records = asker.services(&snapshot, after, paging.most()?, now);
    let place = |record: &Arc<ServiceRecord>| (record.service.device_name.to_string(), record.service.name.to_string());
    Ok(paging.piece(records, place)?.map(|record| body(&state, &asker, &record)))
}

pub(crate) async fn show(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Versioned<ServiceBody>, Problem> {
    let record = asker.service(&state, (&device, &service))?;
    Ok(Versioned(record.version, body(&state, &asker, &record)))
}

pub(crate) async fn set_access(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
    Seen(version): Seen,
    Body(access): Body<PolicyDocument>,
) -> Result<Versioned<ServiceBody>, Problem> {
    change_access(&state, &asker, (&device, &service), Some(access), version).await
}

/// From now on what the device declares counts again.
pub(crate) async fn give_access_back(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
    Seen(version): Seen,
) -> Result<Versioned<ServiceBody>, Problem> {
    change_access(&state, &asker, (&device, &service), None, version).await
}

async fn change_access(
    state: &PortalState,
    asker: &Asker,
    path: (&str, &str),
    access: Option<PolicyDocument>,
    version: Option<i64>,
) -> Result<Versioned<ServiceBody>, Problem> {
    let service = asker.service(state, path)?.service.clone();
    let changed = state.control.set_access(service.device, &service.name, access, version, (state.clock)());
    let record = changed.await?;
    Ok(Versioned(record.version, body(state, asker, &record)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostQuery {
    prefix: Option<String>,
}

pub(crate) async fn release_host(
    Acting(state): Acting,
    asker: Asker,
    At(host): At<String>,
    Asked(query): Asked<HostQuery>,
) -> Result<Done, Problem> {
    let host = HostName::parse(&host).map_err(|e| Problem::invalid(e.to_string()))?;
    let prefix = query.prefix.as_deref().map(PathPrefix::parse).transpose();
    let prefix = prefix.map_err(|e| Problem::invalid(e.to_string()))?;
    let of = |record: &ServiceRecord| record.hosts.iter().any(|h| h.host == host && h.prefix == prefix);
    let none = || Problem::unknown(format!("there is no service with the name {host}"));
    gets_at_holder(&state, &asker, of).then_some(()).ok_or_else(none)?;
    release(&state, Reservation::Host { host, prefix }).await
}

pub(crate) async fn release_port(
    Acting(state): Acting,
    asker: Asker,
    At((protocol, port)): At<(String, u16)>,
) -> Result<Done, Problem> {
    let protocol = match protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(Problem::invalid(format!("\"{other}\" is not a protocol: write tcp or udp"))),
    };
    let of = |record: &ServiceRecord| record.ports.iter().any(|p| p.protocol == protocol && p.port == port);
    let none = || Problem::unknown(format!("there is no service with the {} port {port}", protocol.word()));
    gets_at_holder(&state, &asker, of).then_some(()).ok_or_else(none)?;
    release(&state, Reservation::Port { protocol, port }).await
}

pub(crate) async fn release_service(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Done, Problem> {
    let service = asker.service(&state, (&device, &service))?.service.clone();
    release(&state, Reservation::Service { device: service.device, service: service.name.clone() }).await
}

async fn release(state: &PortalState, reservation: Reservation) -> Result<Done, Problem> {
    state.control.release(reservation, (state.clock)()).await?;
    Ok(Done)
}

/// Whether they get at the service that has something. Owners are told by whoever does it.
fn gets_at_holder(state: &PortalState, asker: &Asker, has_it: impl Fn(&ServiceRecord) -> bool) -> bool {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    asker.sees_everything()
        || snapshot.services().any(|record| has_it(record) && asker.gets_at_service(&snapshot, record, now))
}

fn body(state: &PortalState, asker: &Asker, record: &ServiceRecord) -> ServiceBody {
    let is_theirs = asker.manages(&state.control.snapshot(), record);
    let service = &record.service;
    let failure = state.control.presence().service_failure(service.id);
    let preparation = state.control.presence().preparation(service.id);
    ServiceBody {
        device: service.device_name.clone(),
        name: service.name.clone(),
        title: service.title.clone(),
        kind: service.kind,
        standing: match service.standing {
            Standing::Offered => "offered",
            Standing::Withdrawn => "withdrawn",
            Standing::DeviceRevoked => "device-revoked",
        },
        virtual_port: record.virtual_port,
        main: record.is_main,
        access: if is_theirs { AccessBody::of(&record.access) } else { AccessBody::for_visitors(&record.access) },
        access_home: record.access_home,
        reached_by: state.control.reach(record).iter().map(ToString::to_string).collect(),
        hosts: record
            .hosts
            .iter()
            .map(|h| HostBody { host: h.host.clone(), prefix: h.prefix.clone(), routed: record.routes_host(h) })
            .collect(),
        ports: record
            .ports
            .iter()
            .map(|p| PortBody { protocol: p.protocol, port: p.port, routed: record.routes_port(p) })
            .collect(),
        failure: failure.map(|f| FailureBody { hop: f.failure, what: f.failure.to_string(), since: f.since }),
        preparation: service.prepare.map(|_| PreparationBody::of(preparation, is_theirs)),
        cameras: cameras(state.control.presence(), record, is_theirs),
        version: record.version,
    }
}
