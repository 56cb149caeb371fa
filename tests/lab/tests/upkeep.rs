//! What people who look after a device learn of it over its link.

use doorward_control::{Errand, ErrandError, Protocol, Visits};
use doorward_core::site::Carrier;
use doorward_lab::{Lab, Shape, is_echoed, service, target, until};
use jiff::Timestamp;
use tokio::net::TcpStream;

#[tokio::test]
async fn its_owner_learns_over_the_link_who_is_there_what_passed_and_the_end_of_its_log() {
    for carrier in [Carrier::Quic, Carrier::Tls] {
        let lab = Lab::of(Shape::over(&[carrier])).await;
        let echo = target::echo().await;
        let device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
        let (control, id) = (lab.control(), lab.record("pi", "echo").service.device);
        for number in 0..250 {
            device.upkeep.log.push(&format!("line {number} {}", "x".repeat(600)));
        }
        let lines = control.ask_device(id, Errand::Log, Timestamp::now()).await.unwrap();
        assert_eq!(lines.len(), 200);
        assert!(lines[0].starts_with("line 50 xxx") && lines[199].starts_with("line 249 "), "{}", lines[0]);
        assert!(lines.iter().all(|line| line.len() == 500), "lines are bounded");

        let service = lab.record("pi", "echo").service.id;
        let there = || control.presence().visits(service);
        assert_eq!(there(), Visits::default());
        let mut visitor = TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap();
        assert!(is_echoed(&mut visitor).await);
        until("somebody is there", async || there().count == 1).await;
        drop(visitor);
        until("nobody is there", async || there().count == 0).await;
        until("it is counted", async || control.spent(service).is_some_and(|spent| spent.day.bytes > 0)).await;

        let restart = device.upkeep.restart.clone().unwrap();
        assert!(!restart.is_cancelled());
        control.ask_device(id, Errand::Restart, Timestamp::now()).await.unwrap();
        until("the agent ends", async || restart.is_cancelled()).await;
        device.stop().await;
        until("the device is offline", async || !control.presence().is_online(id)).await;
        let offline = control.ask_device(id, Errand::Log, Timestamp::now()).await;
        assert!(matches!(offline, Err(ErrandError::Offline)), "{offline:?}");
        lab.gateway.stop().await;
    }
}
