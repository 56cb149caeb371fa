use super::support::*;
use crate::GivenAnswer;
use doorward_core::{AccountId, Secret};
use jiff::SignedDuration;

const ANNA: AccountId = AccountId(7);

fn answer(body: &str) -> GivenAnswer {
    let body = Secret::new(body.as_bytes().to_vec());
    GivenAnswer { digest: "d".to_owned(), status: 201, etag: Some("\"1\"".to_owned()), body }
}

#[tokio::test]
async fn an_answer_is_given_again_for_a_day_and_to_nobody_else() {
    let site = Site::open().await;
    let first = site.control.begin_answer(ANNA, "k").unwrap();
    assert!(site.control.begin_answer(ANNA, "k").is_none(), "the first is not answered yet");
    assert!(first.given(noon()).await.unwrap().is_none());
    first.give(answer("a secret told once"), noon()).await.unwrap();
    drop(first);
    let again = site.control.begin_answer(ANNA, "k").unwrap();
    let given = again.given(noon() + SignedDuration::from_hours(23)).await.unwrap().unwrap();
    assert_eq!((given.digest.as_str(), given.status, given.etag.as_deref()), ("d", 201, Some("\"1\"")));
    assert_eq!(given.body.expose(), b"a secret told once");
    assert!(again.given(noon() + SignedDuration::from_hours(25)).await.unwrap().is_none());
    let other = site.control.begin_answer(AccountId(8), "k").unwrap();
    assert!(other.given(noon()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_answered_rests_sealed() {
    let site = Site::open().await;
    let answering = site.control.begin_answer(ANNA, "k").unwrap();
    answering.give(answer("a secret told once"), noon()).await.unwrap();
    let files = std::fs::read_dir(site.data()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let bytes: Vec<u8> = files.flatten().collect();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"given_answers"), "the store was looked at");
    let hex: String = "a secret told once".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!holds(b"a secret told once") && !holds(hex.as_bytes()));
}

#[tokio::test]
async fn of_one_account_a_thousand_answers_are_kept() {
    let site = Site::open().await;
    for number in 0..1002 {
        let answering = site.control.begin_answer(ANNA, &number.to_string()).unwrap();
        answering.give(answer("x"), noon() + SignedDuration::from_secs(number)).await.unwrap();
    }
    let now = noon() + SignedDuration::from_secs(1002);
    let is_kept = async |number: i64| {
        site.control.begin_answer(ANNA, &number.to_string()).unwrap().given(now).await.unwrap().is_some()
    };
    assert!(!is_kept(1).await && is_kept(2).await && is_kept(1001).await);
}
