//! Large bodies pass without being held. Alone in its process, since it measures the process.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use bytes::Bytes;
use doorward_lab::visitor::{self, pieces, request2};
use doorward_lab::web::{Answer, ENDLESS, web};
use doorward_lab::{LIMIT, Lab, service};
use http_body_util::BodyExt;
use hyper::body::Frame;
use std::time::Duration;
use tokio::time::timeout;

const HOST: &str = "page-pi.gw.test";
const SIZE: usize = 256 * MIB;
const MIB: usize = 1024 * 1024;
const TRANSFER_LIMIT: Duration = Duration::from_secs(120);

/// Resident memory in bytes (proc(5), smaps_rollup would be finer; statm counts pages of 4 KiB here).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn large_downloads_uploads_and_slow_readers_leave_the_memory_flat() {
    let lab = Lab::start().await;
    let page = web(|request| match request.path() {
        "/up" => Answer::Listen,
        _ => Answer::Endless(ENDLESS.to_vec()),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let two = visitor::http2(lab.https(), HOST).await;
    let ask = async |path: &str, body| {
        let request = request2(HOST, path).method(if path == "/up" { "POST" } else { "GET" }).body(body).unwrap();
        two.clone().send_request(request).await
    };

    let mut download = timeout(LIMIT, ask("/down", visitor::nothing())).await.unwrap().unwrap().into_body();
    let mut down = 0;
    let mut read = async |until: usize| {
        while down < until {
            let frame = timeout(LIMIT, download.frame()).await.expect("bytes come").unwrap().unwrap();
            down += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    read(16 * MIB).await;
    let before = resident();
    timeout(TRANSFER_LIMIT, read(SIZE)).await.expect("the download ends in time");
    let downloaded = resident();
    println!("download of 256 MiB: {} → {} KiB", before / 1024, downloaded / 1024);
    assert!(downloaded.saturating_sub(before) < 16 * MIB, "{before} → {downloaded}");

    tokio::time::sleep(Duration::from_secs(3)).await;
    let stalled = resident();
    println!("three seconds without reading: {} → {} KiB", downloaded / 1024, stalled / 1024);
    assert!(stalled.saturating_sub(downloaded) < 16 * MIB, "{downloaded} → {stalled}");

    let (sender, body) = pieces();
    let uploading = ask("/up", body);
    let sending = async {
        let chunk = Bytes::from(vec![7; 256 * 1024]);
        for _ in 0..SIZE / chunk.len() {
            sender.send(Frame::data(chunk.clone())).await.unwrap();
        }
    };
    tokio::select! {
        sent = timeout(TRANSFER_LIMIT, sending) => sent.expect("the upload ends in time"),
        answered = uploading => panic!("an answer came before the end: {answered:?}"),
    }
    let uploaded = resident();
    println!("upload of 256 MiB: {} → {} KiB", stalled / 1024, uploaded / 1024);
    assert!(uploaded.saturating_sub(stalled) < 16 * MIB, "{stalled} → {uploaded}");
}
