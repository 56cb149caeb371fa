//! One request to the target and the head of its answer.

use super::Body;
use super::connection::{Upstream, VisitorConnection};
use super::forward::Web;
use super::passage::Passage;
use crate::admit::Admitted;
use doorward_core::hop::HopFailure;
use doorward_tunnel::OpenError;
use http::{Request, Response};
use hyper::body::Incoming;
use tracing::debug;

impl Web {
    /// Sends the request over a kept connection or a fresh stream. A kept one may have been closed by the target
    /// meanwhile: then the request, not sent yet, goes over a fresh one.
    pub(super) async fn exchange(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        passage: &Passage,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Upstream), OpenError> {
        let until = admitted.permit.until();
        let place = (admitted.service.id, passage.mount.clone());
        while let Some(mut upstream) = connection.take(&place, until) {
            match upstream.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, upstream)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(failed.error())),
                },
            }
        }
        let stream = self.admission.open(admitted, passage.mount.clone()).await?;
        let spoken = connection.speak(stream, place, until).await;
        let mut upstream = spoken.map_err(|error| broken(&error))?;
        match upstream.sender.send_request(request).await {
            Ok(response) => Ok((response, upstream)),
            Err(error) => Err(broken(&error)),
        }
    }
}

fn broken(error: &hyper::Error) -> OpenError {
    let mut failure = OpenError::new(HopFailure::TargetUnreachable);
    failure.detail = format!("it closed the connection without an answer: {error}");
    debug!(%error, "a target broke off");
    failure
}
