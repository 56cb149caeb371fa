//! The file as written, and its one conversion.

use super::access;
use super::cameras::CamerasTable;
use super::entrances::Entrance;
use super::pages::PageFiles;
use super::port_mapping::PortMappingTable;
use super::portal::PortalTable;
use super::prepare::{PrepareKeys, ReadyTable, StepTable};
use super::web::{MountsTable, Web, WebKeys};
use super::{DEFAULT_GATEWAY, GatewaySettings, PortMappingSettings, Service, Settings, TooMuch, check_size};
use crate::prepare::Plan;
use crate::proxy::ProxyRule;
use doorward_core::access::PolicyDocument;
use doorward_core::names::Label;
use doorward_core::service::Offer;
use doorward_core::web::HeaderMode;
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

/// More would leave nothing to those who come otherwise.
const LARGEST_RESERVE: u8 = 90;

/// What is wrong, and where (bytes).
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: &Range<usize>, message: impl ToString) -> Self {
        Self { at: at.clone(), message: message.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    metered: bool,
    reserve: Option<Spanned<u8>>,
    proxy: Option<Spanned<String>>,
    #[serde(default)]
    gateway: Vec<Gateway>,
    #[serde(default)]
    service: Vec<ServiceTable>,
    portal: Option<PortalTable>,
    cameras: Option<CamerasTable>,
    router: Option<RouterTable>,
    port_mapping: Option<PortMappingTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RouterTable {
    socket: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Gateway {
    name: Option<Spanned<Label>>,
    services: Option<Vec<Spanned<Label>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServiceTable {
    name: Spanned<Label>,
    title: Option<String>,
    target: Spanned<String>,
    #[serde(default)]
    main: Option<Spanned<bool>>,
    virtual_port: Option<Spanned<u16>>,
    #[serde(default)]
    entrances: Vec<Entrance>,
    preset: Option<Spanned<String>>,
    headers: Option<Spanned<HeaderMode>>,
    forwarded: Option<Spanned<bool>>,
    mounts: Option<Spanned<MountsTable>>,
    verify: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pages: Option<Spanned<PageFiles>>,
    access: Option<Spanned<PolicyDocument>>,
    prepare: Option<Spanned<Vec<Spanned<StepTable>>>>,
    release: Option<Spanned<Vec<Spanned<StepTable>>>>,
    ready: Option<Spanned<ReadyTable>>,
    wake_on_visit: Option<Spanned<bool>>,
    linger: Option<Spanned<String>>,
    pinhole_to: Option<Spanned<String>>,
}

/// The settings, and where in the text (bytes) each service begins. `place`: what people are told of such a place.
pub(super) fn parse(text: &str, place: &dyn Fn(usize) -> String) -> Result<Settings, Fault> {
    let file: File = toml::from_str(text)
        .map_err(|error| Fault { at: error.span().unwrap_or(0..0), message: error.message().to_owned() })?;
    let proxy = file
        .proxy
        .as_ref()
        .map(|given| ProxyRule::parse(given.get_ref()).map_err(|why| Fault::new(&given.span(), why)));
    let proxy = proxy.transpose()?;
    let services = services(&file.service, place)?;
    let port_mapping = file.port_mapping.map(|table| table.read(&services)).transpose()?.unwrap_or_default();
    check_pinholes(&file.service, &port_mapping)?;
    let gateways = gateways(file.gateway, &services)?;
    if let Err(error) = check_size(services.iter()) {
        let (TooMuch::Services { service } | TooMuch::Bytes { service }) = &error;
        let table = file.service.iter().find(|table| table.name.get_ref() == service);
        return Err(Fault::new(&table.map(|table| table.name.span()).unwrap_or_default(), error));
    }
    let reserve = file.reserve.as_ref().map(reserve).transpose()?;
    let portal = file.portal.map(PortalTable::read).transpose()?.unwrap_or_default();
    Ok(Settings {
        metered: file.metered,
        reserve,
        proxy,
        gateways,
        services,
        portal,
        camera_rhythm: file.cameras.map(CamerasTable::read).transpose()?.unwrap_or_default(),
        router: file.router.map(|router| router.socket),
        port_mapping,
        ..Settings::default()
    })
}

fn reserve(given: &Spanned<u8>) -> Result<u8, Fault> {
    let percent = *given.get_ref();
    let refuse = || Fault::new(&given.span(), "a reserve is a number of percent from 0 to 90");
    if percent <= LARGEST_RESERVE { Ok(percent) } else { Err(refuse()) }
}

fn services(tables: &[ServiceTable], place: &dyn Fn(usize) -> String) -> Result<Vec<Service>, Fault> {
    let mut names = HashSet::new();
    let mut has_main = false;
    let mut ports = HashSet::new();
    for table in tables {
        if !names.insert(table.name.get_ref()) {
            let message = format!("there are two services \"{}\"; give one another name", table.name.get_ref());
            return Err(Fault::new(&table.name.span(), message));
        }
        if let Some(main) = table.main.as_ref().filter(|main| *main.get_ref()) {
            if has_main {
                return Err(Fault::new(&main.span(), "only one service can be the main one; take it off the others"));
            }
            has_main = true;
        }
        if let Some(port) = &table.virtual_port {
            if *port.get_ref() == 0 {
                return Err(Fault::new(&port.span(), "a virtual port is a number from 1 to 65535"));
            }
            if !ports.insert(*port.get_ref()) {
                let message = format!("another service has the virtual port {} already; choose one", port.get_ref());
                return Err(Fault::new(&port.span(), message));
            }
        }
    }
    let read = |table: &ServiceTable| {
        let at = table.access.as_ref().map_or_else(|| table.name.span(), Spanned::span).start;
        service(table, &mut ports).map(|service| Service { written_at: Some(place(at)), ..service })
    };
    tables.iter().map(read).collect()
}

fn service(table: &ServiceTable, ports: &mut HashSet<u16>) -> Result<Service, Fault> {
    let keys = WebKeys {
        preset: table.preset.as_ref(),
        headers: table.headers.as_ref(),
        forwarded: table.forwarded.as_ref(),
        mounts: table.mounts.as_ref(),
        verify: table.verify.as_ref(),
        password_file: table.password_file.as_ref(),
        pages: table.pages.as_ref(),
    };
    let Web { target, mounts, offer: web, strips } = keys.read(&table.target)?;
    let access = access::policy(table.access.as_ref(), table.preset.as_ref(), target.kind())?;
    let ssh = (table.name.get_ref().as_str() == "ssh").then_some(22);
    let virtual_port = match &table.virtual_port {
        Some(port) => Some(*port.get_ref()),
        None => [ssh, target.port()].into_iter().flatten().find(|&port| ports.insert(port)),
    };
    let plan = PrepareKeys {
        prepare: table.prepare.as_ref(),
        release: table.release.as_ref(),
        ready: table.ready.as_ref(),
        wake_on_visit: table.wake_on_visit.as_ref(),
        linger: table.linger.as_ref(),
    };
    let plan = plan.read()?;
    let offer = Offer {
        name: table.name.get_ref().clone(),
        title: table.title.clone(),
        kind: target.kind(),
        virtual_port,
        main: table.main.as_ref().is_some_and(|main| *main.get_ref()),
        entrances: table.entrances.iter().map(|entrance| entrance.wish(strips)).collect(),
        access,
        web,
        prepare: plan.as_ref().map(Plan::offer),
    };
    let page_files = table.pages.as_ref().map(|pages| pages.get_ref().clone()).unwrap_or_default();
    let pinhole_to = pinhole_to(table)?;
    Ok(Service { offer, target, mounts, page_files, plan, pinhole_to, written_at: None })
}

/// An address: what a name means can be changed elsewhere.
fn pinhole_to(table: &ServiceTable) -> Result<Option<SocketAddr>, Fault> {
    let read = |given: &Spanned<String>| {
        let why = format!("\"{}\" is no address and port: write it as 192.168.1.20:22", given.get_ref());
        given.get_ref().parse().map_err(|_| Fault::new(&given.span(), why))
    };
    table.pinhole_to.as_ref().map(read).transpose()
}

/// A port mapping can lead to the target; a router's own pinhole leads to an address.
fn check_pinholes(tables: &[ServiceTable], port_mapping: &PortMappingSettings) -> Result<(), Fault> {
    let is_wished = |table: &&ServiceTable| table.entrances.iter().any(|e| matches!(e, Entrance::Pinhole));
    let leads_nowhere =
        |table: &&ServiceTable| table.pinhole_to.is_none() && !port_mapping.allow.contains(table.name.get_ref());
    match tables.iter().find(|table| is_wished(table) && leads_nowhere(table)) {
        None => Ok(()),
        Some(table) => {
            let why = "a pinhole leads to an address of the home's network: pinhole-to = \"192.168.1.20:22\"; or allow a \
                       port mapping for it: [port-mapping] allow";
            Err(Fault::new(&table.name.span(), why))
        }
    }
}

fn gateways(tables: Vec<Gateway>, services: &[Service]) -> Result<Vec<GatewaySettings>, Fault> {
    let mut gateways: Vec<GatewaySettings> = Vec::new();
    for table in tables {
        let at = table.name.as_ref().map(Spanned::span).unwrap_or_default();
        let name = match table.name {
            Some(name) => name.into_inner(),
            None => Label::parse(DEFAULT_GATEWAY).map_err(|why| Fault::new(&at, why))?,
        };
        if gateways.iter().any(|g| g.name == name) {
            return Err(Fault::new(&at, format!("there are two gateways \"{name}\"; put their services together")));
        }
        if let Some(unknown) = table.services.iter().flatten().find(|n| !offers(services, n.get_ref())) {
            let message = format!("there is no service \"{}\" in this file", unknown.get_ref());
            return Err(Fault::new(&unknown.span(), message));
        }
        let allowed = table.services.map(|names| names.into_iter().map(Spanned::into_inner).collect::<BTreeSet<_>>());
        gateways.push(GatewaySettings { name, services: allowed });
    }
    Ok(gateways)
}

fn offers(services: &[Service], name: &Label) -> bool {
    services.iter().any(|s| s.offer.name == *name)
}
