use super::*;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{advance, timeout};

const TICK: Duration = Duration::from_millis(1);

async fn is_overdue_after(turns: &Turns, time: Duration) -> Option<Overdue> {
    timeout(time, turns.overdue(|| false)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn who_never_asks_is_overdue_after_the_time_for_a_head() {
    let turns = Turns::since(Instant::now());
    assert_eq!(is_overdue_after(&turns, PATIENCE - TICK).await, None);
    assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::First));
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_due_from_the_first_packet_on_whatever_comes_of_it() {
    let turns = Turns::since(Instant::now());
    advance(PATIENCE - 2 * TICK).await;
    turns.head_begun();
    assert_eq!(is_overdue_after(&turns, TICK).await, None);
    assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::First));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_own_time_from_its_first_byte() {
    let turns = Turns::since(Instant::now());
    drop(turns.begin());
    let watching = tokio::spawn({
        let turns = turns.clone();
        async move { turns.overdue(|| false).await }
    });
    advance(IDLE_LIMIT - TICK).await;
    let begun = Instant::now();
    turns.head_begun();
    advance(TICK).await;
    turns.head_begun();
    assert_eq!(watching.await.unwrap(), Overdue::Head);
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs(), "more of the head gives no more time");
}

#[tokio::test(start_paused = true)]
async fn a_head_behind_a_request_that_is_being_answered_has_its_time_after_that() {
    let turns = Turns::since(Instant::now());
    let turn = turns.begin();
    turns.head_begun();
    assert_eq!(is_overdue_after(&turns, 100 * PATIENCE).await, None);
    drop(turn);
    assert_eq!(is_overdue_after(&turns, PATIENCE - TICK).await, None);
    assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::Head));
}

#[tokio::test(start_paused = true)]
async fn what_we_take_never_counts_and_idling_counts_from_the_end_of_the_answer() {
    let turns = Turns::since(Instant::now());
    let turn = turns.begin();
    assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None);
    turn.answered(false);
    assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None, "its body is still on its way");
    drop(turn);
    assert_eq!(is_overdue_after(&turns, IDLE_LIMIT - TICK).await, None);
    assert_eq!(is_overdue_after(&turns, 2 * TICK).await, Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn who_still_has_to_take_an_answer_is_not_idle() {
    let turns = Turns::since(Instant::now());
    drop(turns.begin());
    turns.note_stuck(true);
    assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None);
    turns.note_stuck(false);
    assert_eq!(is_overdue_after(&turns, 2 * IDLE_LIMIT).await, Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_crowded_source_has_less_time() {
    let crowded = async |turns: &Turns, time| timeout(time, turns.overdue(|| true)).await.ok();
    let turns = Turns::since(Instant::now());
    let turn = turns.begin();
    assert_eq!(crowded(&turns, 100 * IDLE_LIMIT).await, None, "what we take still costs nothing");
    turns.note_stuck(true);
    assert_eq!(crowded(&turns, PATIENCE - TICK).await, None);
    assert_eq!(crowded(&turns, 2 * TICK).await, Some(Overdue::Stuck));
    turns.note_stuck(false);
    drop(turn);
    assert_eq!(crowded(&turns, PATIENCE - TICK).await, None);
    assert_eq!(crowded(&turns, 2 * TICK).await, Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_inside_http_2_is_overdue_in_a_crowd() {
    let crowded = async |turns: &Turns, time| timeout(time, turns.overdue(|| true)).await.ok();
    let turns = Turns::since(Instant::now());
    let piece = stream::iter([Ok(Frame::data(Bytes::from_static(b"a piece")))]);
    let body = StreamBody::new(piece.chain(stream::pending()));
    let mut body = InTurn::new(body.boxed_unsync(), turns.begin(), None);
    assert_eq!(crowded(&turns, 100 * PATIENCE).await, None, "nobody has looked for it yet");
    assert!(body.frame().await.is_some());
    assert_eq!(crowded(&turns, PATIENCE - TICK).await, None);
    assert_eq!(crowded(&turns, 2 * TICK).await, Some(Overdue::Stuck));
    assert_eq!(is_overdue_after(&turns, 100 * IDLE_LIMIT).await, None, "where there is no crowd one may pause");
    assert!(timeout(TICK, body.frame()).await.is_err(), "all is taken");
    assert_eq!(crowded(&turns, 100 * PATIENCE).await, None, "the target is awaited");
}
