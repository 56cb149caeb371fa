use super::*;
use crate::backup;
use crate::serve;
use crate::testbed::{Ports, Testbed, settings, until_online};
use doorward_control::InviteRequest;
use doorward_portal::BackupRequest;
use std::os::unix::fs::PermissionsExt;

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What must be the same after a restore.
fn essence(control: &Control) -> String {
    let snapshot = control.snapshot();
    let mut services: Vec<_> = snapshot
        .services()
        .map(|record| format!("{} {:?} {:?} {:?}", record.service.path(), record.access, record.hosts, record.ports))
        .collect();
    services.sort();
    let mut devices: Vec<_> = snapshot.devices().map(|device| format!("{device:?}")).collect();
    devices.sort();
    format!("{}\n{}\n{}", control.site_keys().active.fingerprint, devices.join("\n"), services.join("\n"))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| !name.starts_with("doorward.db-")).collect();
    names.sort();
    names
}

const SERVICES: &str = "[[service]]\nname = \"ssh\"\ntarget = \"tcp://127.0.0.1:22\"\nentrances = [{ tcp-port = 0 }]\n\
                        [service.access]\nwho = \"public\"\n";

#[tokio::test]
async fn a_gateway_comes_back_elsewhere_and_its_devices_with_it() {
    let bed = Testbed::start().await;
    let invite = bed.gateway.invite(InviteRequest::default()).await.unwrap();
    let _agent = bed.join(&invite, "printer1", SERVICES).await;
    bed.enrol(9, "away").await;
    let config = bed.path("gateway.toml");
    std::fs::write(&config, "domain = \"example.localhost\"\n[certificate]\nchain = \"/c.pem\"\nkey = \"/k.pem\"\n")
        .unwrap();
    let file = bed.path("backup.age");
    let made = backup::run(&bed.owner, &file, Some(&config), secret("right")).await.unwrap();
    assert_eq!(mode(&file), 0o600);
    assert!(made.words().contains("/c.pem and /k.pem"), "what is not in it is said: {}", made.words());
    assert_eq!(
        names_in(bed.owner.directory()),
        ["doorward.db", "doorward.key", "doorward.lock", "owner.sock"],
        "no copy is left"
    );
    let error = backup::run(&bed.owner, &file, None, secret("x")).await.unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");

    let before = essence(&bed.gateway.control);
    let ports = Ports::of(&bed.gateway);
    let Testbed { directory, gateway, .. } = bed;
    gateway.stop().await;
    let data = directory.path().join("elsewhere/data");
    let restored = run(&file, &data, secret("right")).await.unwrap();
    assert_eq!((restored.devices, restored.services), (2, 1));
    assert!(restored.words().contains("): 2 devices, 1 service.\n"), "{}", restored.words());
    assert_eq!((mode(&data), mode(&data.join(STORE)), mode(&data.join(SETTINGS))), (0o700, 0o600, 0o600));
    assert_eq!(std::fs::read(data.join(SETTINGS)).unwrap(), std::fs::read(&config).unwrap());
    assert_eq!(names_in(&data), [STORE, "doorward.key", SETTINGS]);
    for part in ["--data", "gateway.toml", "/c.pem", "*.example.localhost", "come back by themselves"] {
        assert!(restored.words().contains(part), "{part} is not in\n{}", restored.words());
    }
    let gateway = serve::start(settings(&data, ports)).await.unwrap();
    assert_eq!(essence(&gateway.control), before);
    until_online(&gateway, "printer1").await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_restored_leaves_nothing_behind() {
    let bed = Testbed::start().await;
    let file = bed.path("backup.age");
    backup::run(&bed.owner, &file, None, secret("right")).await.unwrap();
    let data = bed.path("data");
    let error = run(&file, &data, secret("wrong")).await.unwrap_err().to_string();
    assert!(error.contains("the passphrase does not fit"), "{error}");
    assert!(!data.exists());

    let whole = std::fs::read(&file).unwrap();
    let cut = bed.path("cut.age");
    std::fs::write(&cut, &whole[..whole.len() - 20_000]).unwrap();
    std::fs::create_dir(&data).unwrap();
    let error = run(&cut, &data, secret("right")).await.unwrap_err().to_string();
    assert!(error.contains("damaged or incomplete"), "{error}");
    assert!(names_in(&data).is_empty(), "a directory that was there stays, empty");

    // A store that is no store, in a backup that is whole.
    let odd = bed.path("odd.age");
    std::fs::write(bed.path("odd"), "not a database").unwrap();
    let contents = archive::Contents { store: File::open(bed.path("odd")).unwrap(), settings: None };
    archive::seal(contents, &secret("right"), Timestamp::now(), File::create(&odd).unwrap()).unwrap();
    assert!(run(&odd, &data, secret("right")).await.is_err());
    assert!(names_in(&data).is_empty());
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let bed = Testbed::start().await;
    let file = bed.path("backup.age");
    backup::run(&bed.owner, &file, None, secret("right")).await.unwrap();
    let error = run(&file, bed.owner.directory(), secret("right")).await.unwrap_err().to_string();
    assert!(error.contains("a gateway runs with"), "{error}");
    let data = bed.path("data");
    std::fs::create_dir_all(data.join("lost+found")).unwrap();
    std::fs::write(data.join("letter.txt"), "dear").unwrap();
    let error = run(&file, &data, secret("right")).await.unwrap_err().to_string();
    assert!(error.contains("letter.txt"), "{error}");
    std::fs::remove_file(data.join("letter.txt")).unwrap();
    run(&file, &data, secret("right")).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_does_not_run_can_be_backed_up_too() {
    let bed = Testbed::start().await;
    bed.enrol(1, "printer1").await;
    let before = essence(&bed.gateway.control);
    let Testbed { directory, gateway, owner } = bed;
    gateway.stop().await;
    let file = directory.path().join("backup.age");
    backup::run(&owner, &file, None, secret("right")).await.unwrap();
    let data = directory.path().join("data");
    run(&file, &data, secret("right")).await.unwrap();
    let gateway = serve::start(settings(&data, Ports::default())).await.unwrap();
    assert_eq!(essence(&gateway.control), before);
    gateway.stop().await;

    let nothing = crate::admin::Owner::new(directory.path().join("nothing"));
    let error = backup::run(&nothing, &directory.path().join("b"), None, secret("x")).await.unwrap_err().to_string();
    assert!(error.contains("no gateway runs"), "{error}");
    assert!(!directory.path().join("b").exists() && !directory.path().join("nothing").exists());
}

#[tokio::test]
async fn the_gateway_itself_seals_a_backup_and_clears_up_after_interrupted_ones() {
    let bed = Testbed::start().await;
    std::fs::write(bed.owner.directory().join("backup-0011.db"), "left over").unwrap();
    let hook = backup::hook(bed.gateway.control.clone());
    let file = bed.path("sealed.age");
    hook(BackupRequest { path: file.clone(), passphrase: Some(secret("right")) }).await.unwrap();
    assert_eq!(names_in(bed.owner.directory()), ["doorward.db", "doorward.key", "doorward.lock", "owner.sock"]);
    let error = hook(BackupRequest { path: file.clone(), passphrase: Some(secret("right")) }).await.unwrap_err();
    assert!(error.contains("is there already"), "{error}");
    assert!(run(&file, &bed.path("data"), secret("right")).await.is_ok());
}
