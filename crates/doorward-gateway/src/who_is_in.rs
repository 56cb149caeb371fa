//! Tells control who is at which service, for pages. Looked at once a second rather than at each visit: a page of a hundred
//! pictures is a hundred visits.

use crate::live::Live;
use doorward_control::{Control, Visits};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn watch(control: Control, live: Arc<Live>) {
    loop {
        control.presence().visited(look(&control, &live));
        tokio::time::sleep(EVERY).await;
    }
}

fn look(control: &Control, live: &Live) -> HashMap<doorward_core::ServiceId, Visits> {
    let (snapshot, mut all) = (control.snapshot(), HashMap::<_, Visits>::new());
    live.each_visitor(|service, visitor| {
        let visits = all.entry(service).or_default();
        visits.count = visits.count.saturating_add(1);
        visits.people.extend(snapshot.accounts_of(visitor));
    });
    all
}
