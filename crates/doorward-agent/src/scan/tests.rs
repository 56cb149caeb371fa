use super::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Answers as the real ones do, by path. `pages`: path, head without its first line's end, body.
async fn stand_in(pages: Vec<(&'static str, &'static str, &'static str)>) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let pages = Arc::new(pages);
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let pages = pages.clone();
            tokio::spawn(async move {
                let mut heard = [0; 2048];
                let n = socket.read(&mut heard).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&heard[..n]).into_owned();
                let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
                let page = pages.iter().find(|(at, ..)| path.split('?').next() == Some(at));
                let (head, body) = page.map_or(("HTTP/1.1 404 Not Found", ""), |(_, head, body)| (*head, *body));
                let length = if head.contains("multipart") {
                    String::new()
                } else {
                    format!("Content-Length: {}\r\n", body.len())
                };
                let _ = socket.write_all(format!("{head}\r\n{length}\r\n{body}").as_bytes()).await;
                if head.contains("multipart") {
                    // It sends pictures for as long as anybody looks.
                    while socket.write_all(&[0; 1024]).await.is_ok() {}
                }
            });
        }
    });
    (at, AbortOnDropHandle::new(serving))
}

/// What answers like this is taken for.
async fn taken_for(pages: Vec<(&'static str, &'static str, &'static str)>) -> Option<Kind> {
    let (at, _serving) = stand_in(pages).await;
    let found = look_at(vec![at]).await;
    assert!(found.iter().all(|found| found.at == at));
    found.first().map(|found| found.kind)
}

#[tokio::test]
async fn what_answers_like_them_is_known_by_it() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html";
    let login = vec![
        ("/", "HTTP/1.1 302 FOUND\r\nServer: TornadoServer/6.4\r\nLocation: /login/?redirect=%2F%3F", ""),
        ("/login/", OK, "<html><head>\n<title>OctoPrint Login</title>"),
    ];
    assert_eq!(taken_for(login).await, Some(Kind::OctoPrint));
    let named = vec![("/", OK, "<title data-bind=\"text: title\">Prusa [OctoPrint]</title>")];
    assert_eq!(taken_for(named).await, Some(Kind::OctoPrint));
    assert_eq!(taken_for(vec![("/", OK, "<title>Mainsail</title>")]).await, Some(Kind::Mainsail));
    assert_eq!(taken_for(vec![("/", OK, "<title>fluidd</title>")]).await, Some(Kind::Fluidd));
    assert_eq!(taken_for(vec![("/", OK, "<title>Home Assistant</title>")]).await, Some(Kind::HomeAssistant));
    assert_eq!(taken_for(vec![("/", OK, "<title>uStreamer</title>")]).await, Some(Kind::UStreamer));
    let streamer = vec![("/", "HTTP/1.0 200 OK\r\nServer: MJPG-Streamer/0.2", "<title>MJPG-streamer</title>")];
    assert_eq!(taken_for(streamer).await, Some(Kind::MjpgStreamer));
    let pictures = vec![("/", "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x", "--x\r\n")];
    assert_eq!(taken_for(pictures).await, Some(Kind::Camera));
    for other in [
        vec![("/", OK, "<title>Router</title> works with OctoPrint and Home Assistant")],
        vec![("/", "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/", "")],
        vec![("/", "HTTP/1.1 302 Found\r\nLocation: //elsewhere.example/", "")],
        vec![],
    ] {
        assert_eq!(taken_for(other).await, None);
    }
}

#[test]
fn what_says_nothing_on_its_first_page_is_known_by_another() {
    use super::recognise::{Answer, by_path};
    let answer = |status, server: &str, body: &str| Answer {
        status,
        server: server.to_owned(),
        body: body.to_owned(),
        ..Answer::default()
    };
    let info = r#"{"result": {"klippy_connected": true, "klippy_state": "ready", "components": []}}"#;
    let locked = r#"{"error": {"code": 401, "message": "Unauthorized", "traceback": ""}}"#;
    assert_eq!(by_path("/server/info", &answer(200, "TornadoServer/6.4", info)), Some(Kind::Moonraker));
    assert_eq!(by_path("/server/info", &answer(401, "TornadoServer/6.4", locked)), Some(Kind::Moonraker));
    assert_eq!(by_path("/server/info", &answer(404, "nginx", "")), None);
    let version = r#"{"version": "2.14.1"}"#;
    assert_eq!(by_path("/api", &answer(200, "TornadoServer/6.4", version)), Some(Kind::Jupyter));
    assert_eq!(by_path("/api", &answer(200, "nginx", version)), None);
}

#[tokio::test]
async fn nobody_outside_is_asked_and_who_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let public = ["192.0.2.1:80", "8.8.8.8:80", "169.254.169.254:80", "[::1]:80"].map(|at| at.parse().unwrap());
    let places = public.into_iter().chain([silent.local_addr().unwrap()]).collect();
    let found = timeout(ANSWER_LIMIT * 3, look_at(places)).await.unwrap();
    assert_eq!(found, []);
    assert!(timeout(CONNECT_LIMIT, silent.accept()).await.is_ok(), "the silent one was asked");
}

#[test]
fn whatever_is_found_can_be_written_into_the_settings() {
    let kinds = [
        Kind::OctoPrint,
        Kind::Mainsail,
        Kind::Fluidd,
        Kind::Moonraker,
        Kind::HomeAssistant,
        Kind::Jupyter,
        Kind::Camera,
        Kind::MjpgStreamer,
        Kind::UStreamer,
        Kind::RtspCamera,
    ];
    for kind in kinds {
        let found = Found { kind, at: "192.168.1.5:80".parse().unwrap() };
        let addition = doorward_core::addition::Addition {
            name: found.name(),
            title: None,
            target: found.target(),
            preset: kind.preset().map(str::to_owned),
        };
        assert_eq!(addition.check(), Ok(()));
        let settings = crate::Settings::parse(&addition.table(), std::path::Path::new("agent.toml")).unwrap();
        assert_eq!(settings.services[0].target.to_string(), found.target());
    }
}
