use super::*;
use std::os::unix::fs::PermissionsExt;

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn site() -> KnownSite {
    KnownSite {
        addresses: vec![Address::parse("gw.example.org").unwrap()],
        keys: vec![Fingerprint([7; 32])],
        revision: 3,
        device_name: label("printer1"),
        carrier: Some(Carrier::Tls),
    }
}

fn scratch() -> (tempfile::TempDir, StateDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().join("a/b"));
    (folder, state)
}

fn join(state: &StateDir, gateway: &Label) -> [u8; 32] {
    state.check_writable(gateway).unwrap();
    let key = state.joining_key(gateway).unwrap().public();
    state.joined(gateway, &site()).unwrap();
    key
}

#[test]
fn what_is_stored_is_read_back_and_private() {
    let (_folder, state) = scratch();
    let main = label("main");
    assert!(state.gateways().unwrap().is_empty());
    assert!(state.membership(&main).unwrap().is_none());
    let key = join(&state, &main);
    let membership = state.membership(&main).unwrap().unwrap();
    assert_eq!(membership.site, site());
    assert_eq!(membership.key.public(), key);
    assert_eq!(state.gateways().unwrap(), std::slice::from_ref(&main));
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.folder(&main)), 0o700);
    assert_eq!(mode(state.folder(&main).join(KEY)), 0o600);
    let files = std::fs::read_dir(state.folder(&main)).unwrap().count();
    assert_eq!(files, 2, "nothing else is left behind");
}

#[test]
fn an_attempt_to_join_keeps_its_key_until_it_succeeds() {
    let (_folder, state) = scratch();
    let main = label("main");
    state.check_writable(&main).unwrap();
    let first = state.joining_key(&main).unwrap().public();
    assert_eq!(state.joining_key(&main).unwrap().public(), first);
    assert!(state.gateways().unwrap().is_empty(), "a key alone is no membership");
    state.joined(&main, &site()).unwrap();
    let again = state.joining_key(&main).unwrap().public();
    assert_ne!(again, first, "a replaced membership gets a new key");
    assert_eq!(state.joining_key(&main).unwrap().public(), again);
    assert_eq!(state.membership(&main).unwrap().unwrap().key.public(), first, "the old one lives until then");
    state.joined(&main, &site()).unwrap();
    assert_eq!(state.membership(&main).unwrap().unwrap().key.public(), again);
}

#[test]
fn a_replacement_that_was_interrupted_goes_on_with_its_key() {
    let (_folder, state) = scratch();
    let main = label("main");
    join(&state, &main);
    let again = state.joining_key(&main).unwrap().public();
    std::fs::remove_file(state.folder(&main).join(SITE)).unwrap();
    assert_eq!(state.joining_key(&main).unwrap().public(), again);
    std::fs::rename(state.folder(&main).join(JOINING), state.folder(&main).join(KEY)).unwrap();
    assert_eq!(state.joining_key(&main).unwrap().public(), again);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let (_folder, state) = scratch();
    let main = label("main");
    join(&state, &main);
    let spoil = |file: &str, content: &[u8]| {
        let path = state.folder(&main).join(file);
        let sound = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let error = state.membership(&main).err().expect(file).to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("join again"), "{error}");
        std::fs::write(&path, sound).unwrap();
    };
    spoil(KEY, b"");
    spoil(KEY, b"half a k");
    spoil(SITE, b"");
    spoil(SITE, b"{\"addresses\":[],\"keys\":[],\"revision\":1,\"device-name\":\"a\"}");
    std::fs::remove_file(state.folder(&main).join(SITE)).unwrap();
    std::fs::write(state.folder(&main).join(KEY), b"half").unwrap();
    assert!(matches!(state.joining_key(&main), Err(StateError::Damaged { .. })), "never silently a new identity");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = StateDir::new(&file).check_writable(&label("main")).unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("--state"), "{error}");
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::StorageFull] {
        let source = io::Error::from(kind);
        assert!(!StateError::Unwritable { path: "/x".into(), source }.to_string().ends_with(": "));
    }
}

#[test]
fn an_agent_that_was_replaced_behind_its_back_writes_nothing() {
    let (_folder, state) = scratch();
    let main = label("main");
    let old = join(&state, &main);
    let told = KnownSite { revision: 4, ..site() };
    state.update_site(&main, old, &told).unwrap();
    let new = join(&state, &main);
    assert!(matches!(state.update_site(&main, old, &told), Err(StateError::Replaced { .. })));
    assert_eq!(state.membership(&main).unwrap().unwrap().site, site());
    std::fs::remove_dir_all(state.folder(&main)).unwrap();
    assert!(matches!(state.update_site(&main, new, &told), Err(StateError::Replaced { .. })));
    assert!(!state.folder(&main).exists());
}
