//! Many who change the same at once.

use crate::{House, PORTAL, add, token};
use doorward_core::person::{Person, Role};
use doorward_lab::visitor::{full, http2, request2, send2};
use http::StatusCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

const OWNERS: usize = 20;
const CHANGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_who_change_roles_at_once_all_are_answered_and_an_owner_stays() {
    let house = House::build().await;
    let mut owners: Vec<(Arc<Person>, String)> = Vec::new();
    for number in 0..OWNERS {
        let person = add(&house.lab, &format!("owner-{number}"), Role::Owner).await;
        let token = token(&house.lab, &person).await;
        owners.push((person, token));
    }
    let first = house.lab.control().snapshot().people().find(|person| person.id.0 == 1).unwrap().name.clone();
    let ways = [http2(house.lab.https(), PORTAL).await, http2(house.lab.https(), PORTAL).await];
    let since = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..CHANGES {
        // Everybody makes everybody less, themselves and the first account included.
        let (_, by) = &owners[number % OWNERS];
        let whom = match (number / OWNERS + number) % (OWNERS + 1) {
            OWNERS => first.clone(),
            other => owners[other].0.name.clone(),
        };
        let role = ["member", "guest", "member"][number % 3];
        let asked = request2(PORTAL, &format!("/api/v1/people/{whom}")).method("PATCH");
        let asked = asked.header("authorization", format!("Bearer dw_{by}"));
        let asked = asked.body(full(format!("{{\"role\": {role:?}}}"))).unwrap();
        let way = ways[number % 2].clone();
        asking.spawn(async move { send2(&way, asked).await.status });
    }
    let answers = asking.join_all().await;
    println!("{CHANGES} changes of roles in {:?}", since.elapsed());
    assert_eq!(answers.len(), CHANGES);
    // Whoever was an owner a moment ago may be none when their turn comes; on a slow disk some are told to try again.
    let expected = [
        StatusCode::OK,
        StatusCode::BAD_REQUEST,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    assert!(answers.iter().all(|status| expected.contains(status)), "{answers:?}");
    assert!(answers.contains(&StatusCode::OK));
    let snapshot = house.lab.control().snapshot();
    let left = snapshot.people().filter(|person| person.role == Role::Owner).count();
    println!("{left} owners are left");
    assert!(left >= 1);
    // Nothing is stuck: the next change goes through.
    add(&house.lab, "after", Role::Member).await;
}
