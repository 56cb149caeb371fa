//! What belongs to the running of a gateway and to nobody outside: metrics, health and the start page on a loopback
//! port; the owner's API on a unix socket in the data directory.

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use doorward_control::Control;
use doorward_core::site::Address;
use doorward_oidc::Providers;
use doorward_portal::PortalState;
use jiff::Timestamp;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The name of the owner's socket in the data directory.
pub const SOCKET: &str = "owner.sock";

pub struct Operations {
    address: SocketAddr,
    socket: PathBuf,
    serving: JoinSet<()>,
    addresses: watch::Sender<Vec<Address>>,
}

impl Operations {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What invites say from now on.
    pub fn set_addresses(&self, addresses: &[Address]) {
        self.addresses.send_replace(addresses.to_vec());
    }

    pub fn stop(mut self) {
        self.serving.abort_all();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// What the portal's pages and API know, whichever door they are behind. The addresses follow.
pub fn portal_state(control: &Control) -> (PortalState, watch::Sender<Vec<Address>>) {
    let (sender, receiver) = watch::channel(Vec::new());
    let state = PortalState {
        control: control.clone(),
        addresses: receiver,
        release: env!("CARGO_PKG_VERSION"),
        backup: crate::backup::hook(control.clone()),
        providers: Providers::default(),
        clock: Timestamp::now,
    };
    (state, sender)
}

pub async fn start(
    state: PortalState,
    addresses: watch::Sender<Vec<Address>>,
    at: SocketAddr,
) -> anyhow::Result<Operations> {
    let control = state.control.clone();
    let listener = TcpListener::bind(at).await;
    let listener = listener.with_context(|| {
        format!("listen.operations: {at} cannot be opened; if another program has it, set another one in gateway.toml")
    })?;
    let address = listener.local_addr()?;
    let socket = control.directory().join(SOCKET);
    let owner = open_socket(&socket)?;

    let mut serving = JoinSet::new();
    let metrics = recorder();
    serving.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            metrics.run_upkeep();
        }
    });
    let pages = doorward_portal::start_page(state.clone(), address.port()).merge(metrics_route());
    serving.spawn(async move {
        let _ = axum::serve(listener, pages).await;
    });
    let api = doorward_portal::owner(state);
    serving.spawn(async move {
        let _ = axum::serve(owner, api).await;
    });
    Ok(Operations { address, socket, serving, addresses })
}

fn metrics_route() -> Router {
    Router::new().route("/metrics", get(async || recorder().render()))
}

/// One recorder per process, however many gateways a test starts in it.
fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Fails only if somebody installed another one; then that one has the numbers.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

fn open_socket(path: &Path) -> anyhow::Result<UnixListener> {
    // The store's lock says that no other gateway uses this directory: what lies here is left over.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
