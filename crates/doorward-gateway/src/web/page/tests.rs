use super::*;
use doorward_control::Preparation;
use doorward_core::access::Policy;
use doorward_core::names::Label;
use doorward_core::prepare::Phase;
use doorward_core::service::{ServiceKind, Standing};
use doorward_core::web::WebOffer;
use doorward_core::{AccountId, DeviceId, ServiceId};
use http::Method;
use http::header::ACCEPT_LANGUAGE;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};

fn service(title: &str, web: &str) -> Service {
    Service {
        id: ServiceId(1),
        device: DeviceId(1),
        account: AccountId(1),
        device_name: Label::parse("pi").unwrap(),
        name: Label::parse("printer").unwrap(),
        title: title.to_owned(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Policy::default().into(),
        web: serde_json::from_str::<WebOffer>(web).unwrap().into(),
        prepare: None,
    }
}

fn seen(phase: Phase, what: &str) -> Preparation {
    let now = Timestamp::now();
    Preparation {
        phase,
        step: 2,
        steps: 3,
        what: what.to_owned(),
        since: now - SignedDuration::from_secs(12),
        error: Some("10.0.0.7 says no".to_owned()),
        retry_at: Some(now + SignedDuration::from_secs(40)),
    }
}

fn pages(headers: &HeaderMap) -> Vec<Response<Body>> {
    let friends = service("Printer & <friends>", "{}");
    let mut pages = vec![
        nothing_here(headers),
        foreign(headers),
        no_upgrade(headers, "Printer"),
        too_many(headers),
        password_needed(headers, &friends),
    ];
    pages.extend(HopFailure::ALL.map(|failure| hop_failed(headers, failure, &friends)));
    pages.extend(Phase::ALL.map(|phase| preparing(headers, &Method::GET, &seen(phase, "a command"), &friends)));
    pages
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn every_page_speaks_the_visitors_language_from_its_title_to_its_last_word() {
    for tag in ["de", "es"] {
        let spoken = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(tag))]);
        for (spoken, english) in pages(&spoken).into_iter().zip(pages(&HeaderMap::new())) {
            let (spoken, english) = (text(spoken).await, text(english).await);
            assert!(spoken.contains(&format!("<html lang=\"{tag}\">")), "{spoken}");
            assert!(english.contains("<html lang=\"en\">"), "{english}");
            let sentences = |page: &str| {
                let body = page.split("<main>").nth(1).unwrap().split("</main>").next().unwrap().to_owned();
                body.split('<')
                    .filter_map(|part| part.split_once('>'))
                    .map(|(_, text)| text.to_owned())
                    .filter(|t| t.len() > 3)
                    .collect::<Vec<_>>()
            };
            let (spoken, english) = (sentences(&spoken), sentences(&english));
            assert_eq!(spoken.len(), 3, "{spoken:?}");
            for (spoken, english) in spoken.iter().zip(&english) {
                assert_ne!(spoken, english, "not in {tag}");
            }
        }
    }
}

#[tokio::test]
async fn programs_get_json_in_one_language_and_are_not_told_to_reload() {
    let asked = [(ACCEPT, "application/json"), (ACCEPT_LANGUAGE, "de")];
    let headers = asked.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect();
    let response = hop_failed(&headers, HopFailure::DeviceOffline, &service("Printer", "{}"));
    assert!(!response.headers().contains_key(REFRESH));
    let json: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(json["error"]["detail"], "Printer: the device is offline.");
    let friends = service("Printer & <friends>", "{}");
    let for_people = hop_failed(&HeaderMap::new(), HopFailure::DeviceOffline, &friends);
    assert_eq!(for_people.headers()[REFRESH], "10");
    assert!(text(for_people).await.contains("Printer &amp; &lt;friends&gt;: the device is offline."));
}

const OWN: &str = r#"{"pages":{
    "offline":"<p lang='{{language}}'>{{service}} sleeps. {{detail}} {{remedy}}",
    "password":"<p>{{title}}"
}}"#;

#[tokio::test]
async fn a_services_own_pages_are_shown_in_place_of_ours_and_only_there() {
    let own = service("O'Brien's <b>\"printer\"</b> {{title}}", OWN);
    let german = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("de"))]);
    let response = hop_failed(&german, HopFailure::AgentSilent, &own);
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("script") && !policy.contains("http"));
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let said = text(response).await;
    let title = "O&#39;Brien&#39;s &lt;b&gt;&quot;printer&quot;&lt;/b&gt; {{title}}";
    assert!(said.starts_with(&format!("<p lang='de'>{title} sleeps. {title}: ")), "{said}");
    assert!(said.contains("rechtzeitig"), "{said}");

    let password = password_needed(&HeaderMap::new(), &own);
    assert!(password.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(text(password).await, "<p>Password needed");
    let ours = text(hop_failed(&HeaderMap::new(), HopFailure::TargetRefused, &own)).await;
    assert!(ours.contains("<main>"), "it has none for this: {ours}");
    let json = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let offline = hop_failed(&json, HopFailure::DeviceOffline, &own);
    assert_eq!(offline.headers()[CONTENT_TYPE], "application/json");
    assert!(text(offline).await.starts_with("{\"error\":"));
}

#[tokio::test]
async fn who_waits_sees_the_step_and_since_when_and_never_the_owners_error() {
    let service = service("PC & <more>", "{}");
    let show = |headers: &HeaderMap, method: &Method, phase, what: &str| {
        preparing(headers, method, &seen(phase, what), &service)
    };
    let page = show(&HeaderMap::new(), &Method::GET, Phase::Preparing, "wake <b>{steps}</b>");
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&page.headers()[REFRESH], &page.headers()[RETRY_AFTER]),
        (&"3".parse().unwrap(), &"5".parse().unwrap())
    );
    assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], OURS);
    let said = text(page).await;
    assert!(said.contains("PC &amp; &lt;more&gt;: Step 2 of 3: wake &lt;b&gt;{steps}&lt;/b&gt;."), "{said}");
    assert!(said.contains("For 12 s so far"), "{said}");
    assert!(!said.contains("10.0.0.7") && !said.contains("http"), "{said}");
    let failed = show(&HeaderMap::new(), &Method::GET, Phase::Failed, "a command");
    let retry: u64 = failed.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((39..=40).contains(&retry) && failed.headers().contains_key(REFRESH));
    let said = text(failed).await;
    assert!(said.contains("Step 2 of 3 failed: a command.") && !said.contains("10.0.0.7"), "{said}");

    let posted = show(&HeaderMap::new(), &Method::POST, Phase::Preparing, "a command");
    assert!(!posted.headers().contains_key(REFRESH) && posted.headers().contains_key(RETRY_AFTER));
    let json = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let answer = show(&json, &Method::GET, Phase::Preparing, "a command");
    assert!(!answer.headers().contains_key(REFRESH) && answer.headers()[RETRY_AFTER] == "5");
    let json: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(json["error"]["detail"], "PC & <more>: Step 2 of 3: a command.");
}
