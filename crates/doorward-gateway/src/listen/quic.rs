//! Links over QUIC.

use crate::links::agent::Reception;
use crate::listen::strangers::Strangers;
use crate::tasks::Tasks;
use doorward_tunnel::Acceptor;
use std::sync::Arc;
use tracing::debug;

/// Beyond this many handshakes at once, an address must first show that it gets our packets (RFC 9000, 8.1).
const TRUSTING: usize = 100;

pub(crate) async fn serve(
    endpoint: quinn::Endpoint,
    acceptor: Arc<Acceptor>,
    reception: Reception,
    strangers: Arc<Strangers>,
    tasks: Tasks,
) {
    while let Some(incoming) = endpoint.accept().await {
        if endpoint.open_connections() > TRUSTING && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let Some((connection, handshake)) = strangers.enter(incoming.remote_address().ip()) else {
            incoming.refuse();
            continue;
        };
        let (acceptor, reception) = (acceptor.clone(), reception.clone());
        tasks.spawn(async move {
            let taken = handshake.pushed_out().run_until_cancelled_owned(acceptor.take_quic(incoming)).await;
            drop(handshake);
            match taken {
                Some(Ok(arrival)) => {
                    drop(connection);
                    reception.receive(arrival).await;
                }
                Some(Err(error)) => debug!(%error, "a QUIC connection came to nothing"),
                None => debug!("a QUIC connection that had not introduced itself made room for another"),
            }
        });
    }
}
