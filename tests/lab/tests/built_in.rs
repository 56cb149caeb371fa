//! The gateway's own agent: a device like any other, without a network between.

use doorward::serve::settings::BuiltIn;
use doorward_lab::visitor::get;
use doorward_lab::{DOMAIN, Lab, Shape, target, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_machine_offers_services_over_memory_and_keeps_its_names() {
    let page = target::says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await;
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("agent.toml");
    let text = format!(
        "[[service]]\nname = \"router\"\ntarget = \"http://{}\"\nmain = true\naccess = {{ who = \"public\" }}\n",
        page.address
    );
    std::fs::write(&config, text).unwrap();
    let built_in = Some(BuiltIn { config, name: Some("attic".to_owned()) });
    let mut lab = Lab::of(Shape { built_in, ..Shape::default() }).await;
    for start in ["first", "second"] {
        let host = format!("attic.{DOMAIN}");
        until(&format!("the service is reached after the {start} start"), async || {
            get(lab.http(), &host, "/").await.text() == "hello"
        })
        .await;
        assert_eq!(lab.control().snapshot().devices().count(), 1, "it is one device for ever");
        lab = lab.restart_gateway().await;
    }
}
