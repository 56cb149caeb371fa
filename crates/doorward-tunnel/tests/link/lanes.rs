//! How many connections the stream carriers use for visits.

use crate::common::gateway::Gateway;
use crate::common::{Link, echoes, introduction, meet, request};
use crate::over_carrier;
use doorward_core::site::Carrier;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

over_carrier!(tls Tls visits_after_each_other_share_lanes lanes_serve_many_visits_at_once_and_again
    visits_that_were_given_up_are_not_waited_for refused_visits_cost_no_lanes);
over_carrier!(websocket WebSocket visits_after_each_other_share_lanes lanes_serve_many_visits_at_once_and_again
    visits_that_were_given_up_are_not_waited_for refused_visits_cost_no_lanes);
over_carrier!(memory Memory visits_after_each_other_share_lanes lanes_serve_many_visits_at_once_and_again
    visits_that_were_given_up_are_not_waited_for refused_visits_cost_no_lanes);

async fn visits_after_each_other_share_lanes(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let _echo = link.echo();
    for n in 0..30 {
        echoes(&link.near, &[n; 2000]).await.unwrap();
    }
    let connections = link.gateway.connections();
    // The control connection, one lane, one spare; one more where an echo's lane came home late.
    assert!((3..=5).contains(&connections), "{connections} connections for 30 visits");
}

async fn lanes_serve_many_visits_at_once_and_again(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let _echo = link.echo();
    for round in 1..=3 {
        let mut visitors = JoinSet::new();
        for _ in 0..20 {
            let near = link.near.clone();
            visitors.spawn(async move { echoes(&near, &[1; 2000]).await.unwrap() });
        }
        while let Some(done) = visitors.join_next().await {
            done.unwrap();
        }
        let connections = link.gateway.connections();
        assert!(connections <= 30, "{connections} connections after round {round} of 20 visits");
    }
}

async fn visits_that_were_given_up_are_not_waited_for(carrier: Carrier) {
    let mut gateway = Gateway::start().await;
    let dialer = gateway.dialer(carrier);
    let (near, far) = meet(&mut gateway, &dialer, &introduction()).await;
    for _ in 0..50 {
        // Nobody runs the agent yet: no lane comes.
        assert!(timeout(Duration::from_millis(1), near.link.open(&request("tree"))).await.is_err());
    }
    let mut link = Link::run(gateway, near, far);
    let _echo = link.echo();
    for n in 0..20 {
        echoes(&link.near, &[n; 100]).await.unwrap();
    }
    let connections = link.gateway.connections();
    assert!(connections <= 5, "{connections} connections: visitors that left are still counted");
}

async fn refused_visits_cost_no_lanes(carrier: Carrier) {
    let mut link = Link::stand(carrier).await;
    let request = request("tree");
    for _ in 0..30 {
        let refusing = async {
            let visit = link.visits.recv().await.unwrap();
            visit.fail(doorward_core::hop::HopFailure::TargetRefused, "").await;
        };
        let (opened, ()) = tokio::join!(link.near.open(&request), refusing);
        assert!(opened.is_err());
    }
    let connections = link.gateway.connections();
    assert!((3..=5).contains(&connections), "{connections} connections for 30 refusals");
}

#[tokio::test(start_paused = true)]
async fn lanes_that_idled_are_used_again() {
    let mut link = Link::stand(Carrier::Memory).await;
    let _echo = link.echo();
    echoes(&link.near, b"first").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = link.gateway.connections();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        echoes(&link.near, b"an hour later").await.unwrap();
    }
    assert_eq!(link.gateway.connections(), before, "the agent answers on the lane that it has");
}
