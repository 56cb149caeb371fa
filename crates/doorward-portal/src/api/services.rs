use super::device_named;
use crate::PortalState;
use crate::answer::{Asked, At, Body, Problem, Seen, Versioned};
use axum::Json;
use axum::extract::State;
use doorward_control::{AccessHome, Device, Preparation, Protocol, Reservation, ServiceRecord};
use doorward_core::access::{HowDocument, PolicyDocument, ScheduleDocument, WhoDocument};
use doorward_core::hop::HopFailure;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::prepare::Phase;
use doorward_core::service::{ServiceKind, Standing};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize)]
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
    version: i64,
}

/// A policy as far as people read it: whose password is right, but nothing to try passwords against.
#[derive(Serialize)]
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
    from: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<ScheduleDocument>,
}

impl AccessBody {
    fn of(policy: &PolicyDocument) -> Self {
        let PolicyDocument { who, passwords, people, groups, how, max_duration, max_idle, from, when } = policy.clone();
        let users = passwords.into_keys().collect();
        Self { who, users, people, groups, how, max_duration, max_idle, from, when }
    }
}

#[derive(Serialize)]
struct HostBody {
    host: HostName,
    prefix: Option<PathPrefix>,
    routed: bool,
}

#[derive(Serialize)]
struct PortBody {
    protocol: Protocol,
    port: u16,
    routed: bool,
}

#[derive(Serialize)]
struct FailureBody {
    hop: HopFailure,
    what: String,
    since: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PreparationBody {
    /// `null`: its device tells nothing now.
    phase: Option<Phase>,
    /// From 1; 0 where no step runs.
    step: u16,
    steps: u16,
    what: String,
    since: Option<Timestamp>,
    error: Option<String>,
    retry_at: Option<Timestamp>,
}

impl PreparationBody {
    fn of(seen: Option<Preparation>) -> Self {
        match seen {
            None => {
                let (step, steps, what) = (0, 0, String::new());
                Self { phase: None, step, steps, what, since: None, error: None, retry_at: None }
            }
            Some(Preparation { phase, step, steps, what, since, error, retry_at }) => {
                Self { phase: Some(phase), step, steps, what, since: Some(since), error, retry_at }
            }
        }
    }
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<ServiceBody>> {
    let mut records: Vec<_> = state.control.snapshot().services().cloned().collect();
    records.sort_by(|a, b| (&a.service.device_name, &a.service.name).cmp(&(&b.service.device_name, &b.service.name)));
    Json(records.iter().map(|record| body(&state, record)).collect())
}

pub(crate) async fn set_access(
    State(state): State<PortalState>,
    At((device, service)): At<(String, String)>,
    Seen(version): Seen,
    Body(access): Body<PolicyDocument>,
) -> Result<Versioned<ServiceBody>, Problem> {
    change_access(&state, &device, &service, Some(access), version).await
}

/// From now on what the device declares counts again.
pub(crate) async fn give_access_back(
    State(state): State<PortalState>,
    At((device, service)): At<(String, String)>,
    Seen(version): Seen,
) -> Result<Versioned<ServiceBody>, Problem> {
    change_access(&state, &device, &service, None, version).await
}

async fn change_access(
    state: &PortalState,
    device: &str,
    service: &str,
    access: Option<PolicyDocument>,
    version: Option<i64>,
) -> Result<Versioned<ServiceBody>, Problem> {
    let (device, service) = service_named(state, device, service)?;
    let record = state.control.set_access(device.id, &service, access, version, (state.clock)()).await?;
    Ok(Versioned(record.version, body(state, &record)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostQuery {
    prefix: Option<String>,
}

pub(crate) async fn release_host(
    State(state): State<PortalState>,
    At(host): At<String>,
    Asked(query): Asked<HostQuery>,
) -> Result<StatusCode, Problem> {
    let host = HostName::parse(&host).map_err(|e| Problem::invalid(e.to_string()))?;
    let prefix = query.prefix.as_deref().map(PathPrefix::parse).transpose();
    let prefix = prefix.map_err(|e| Problem::invalid(e.to_string()))?;
    release(&state, Reservation::Host { host, prefix }).await
}

pub(crate) async fn release_port(
    State(state): State<PortalState>,
    At((protocol, port)): At<(String, u16)>,
) -> Result<StatusCode, Problem> {
    let protocol = match protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(Problem::invalid(format!("\"{other}\" is not a protocol: write tcp or udp"))),
    };
    release(&state, Reservation::Port { protocol, port }).await
}

pub(crate) async fn release_service(
    State(state): State<PortalState>,
    At((device, service)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (device, service) = service_named(&state, &device, &service)?;
    release(&state, Reservation::Service { device: device.id, service }).await
}

async fn release(state: &PortalState, reservation: Reservation) -> Result<StatusCode, Problem> {
    state.control.release(reservation, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn record_named(state: &PortalState, device: &str, service: &str) -> Result<Arc<ServiceRecord>, Problem> {
    let (device, label) = service_named(state, device, service)?;
    let record = state.control.snapshot().record_of(device.id, &label);
    record.ok_or_else(|| Problem::unknown(format!("there is no service \"{}/{label}\"", device.name)))
}

fn service_named(state: &PortalState, device: &str, service: &str) -> Result<(Arc<Device>, Label), Problem> {
    let device = device_named(&state.control.snapshot(), device)?;
    let label = Label::parse(service).map_err(|e| Problem::invalid(e.to_string()))?;
    Ok((device, label))
}

fn body(state: &PortalState, record: &ServiceRecord) -> ServiceBody {
    let service = &record.service;
    let failure = state.control.presence().service_failure(service.id);
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
        access: AccessBody::of(&record.access),
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
        preparation: service.prepare.map(|_| PreparationBody::of(state.control.presence().preparation(service.id))),
        version: record.version,
    }
}
