use super::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What a client says first, with this server name extension (RFC 6066, 3).
fn hello(names: &[u8]) -> Vec<u8> {
    hello_with(&[(0, names)])
}

fn hello_with(further: &[(u16, &[u8])]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::DEFAULT_VERSIONS);
    let mut config = config.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.enable_sni = false;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("unsaid.test").unwrap();
    let mut said = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut said).unwrap();
    // Record 5, message 4, version 2, random 32; then session id, suites, compression and extensions by their lengths.
    let mut at = 43;
    at += 1 + usize::from(said[at]);
    at += 2 + usize::from(u16::from_be_bytes([said[at], said[at + 1]]));
    at += 1 + usize::from(said[at]);
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let extension = |(kind, bytes): &(u16, &[u8])| [&kind.to_be_bytes()[..], &length(bytes), bytes].concat();
    said.splice(at + 2..at + 2, further.iter().flat_map(extension));
    let extensions = length(&said[at + 2..]);
    said[at..at + 2].copy_from_slice(&extensions);
    let message = length(&said[9..]);
    said[7..9].copy_from_slice(&message);
    let record = length(&said[5..]);
    said[3..5].copy_from_slice(&record);
    said
}

fn list(names: &[&str]) -> Vec<u8> {
    let entry = |name: &&str| [&[0][..], &u16::try_from(name.len()).unwrap().to_be_bytes(), name.as_bytes()].concat();
    let entries: Vec<u8> = names.iter().flat_map(entry).collect();
    [&u16::try_from(entries.len()).unwrap().to_be_bytes()[..], &entries].concat()
}

/// The same hello in records of so many bytes.
fn in_records_of(size: usize, hello: &[u8]) -> Vec<u8> {
    let record = |part: &[u8]| [&[0x16, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

/// A visitor who says this and no more, `at_once` bytes at a time.
fn visitor(said: &[u8], at_once: usize) -> DuplexStream {
    let (mut visitor, gateway) = tokio::io::duplex(at_once);
    let said = said.to_vec();
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(&mut visitor);
        let writing = async {
            let _ = writer.write_all(&said).await;
            let _ = writer.shutdown().await;
        };
        tokio::join!(writing, async { while matches!(reader.read(&mut [0; 64]).await, Ok(n) if n > 0) {} });
    });
    gateway
}

async fn read(said: &[u8]) -> io::Result<Option<HostName>> {
    Hello::read(visitor(said, 4096)).await.map(|hello| hello.host())
}

#[tokio::test]
async fn whatever_pieces_a_hello_comes_in_it_says_the_same_and_is_passed_on_as_it_came() {
    let said = hello(&list(&["vault.gw.test"]));
    let mut forms = vec![said.clone()];
    forms.extend([1, 2, 7, 100].map(|size| in_records_of(size, &said)));
    for form in forms {
        let whole = [&form[..], b"\x17\x03\x03\x00\x04more"].concat();
        for at_once in [1, 3, 64, 100_000] {
            let hello = Hello::read(visitor(&whole, at_once)).await.unwrap();
            assert_eq!(hello.host().unwrap().as_str(), "vault.gw.test", "{} bytes, {at_once} at once", form.len());
            assert!(hello.offers(b"h2") && !hello.offers(b"h") && !hello.offers(b"acme-tls/1"));
            let mut unread = hello.unread();
            let mut heard = Vec::new();
            unread.read_to_end(&mut heard).await.unwrap();
            assert!(heard == whole, "{} of {} bytes, {at_once} at once", heard.len(), whole.len());
            assert!(unread.said.is_empty() && unread.said.capacity() == 0, "it is kept no longer than needed");
        }
    }
}

#[tokio::test]
async fn every_spelling_of_a_name_is_one_name() {
    for name in ["vault.gw.test", "VAULT.GW.test", "Vault.Gw.Test", "vault.gw.test."] {
        let found = read(&hello(&list(&[name]))).await.unwrap();
        assert_eq!(found.unwrap().as_str(), "vault.gw.test", "{name}");
    }
}

#[tokio::test]
async fn under_ech_the_outer_name_counts() {
    // RFC 9849, 5: outer, HKDF-SHA256, AES-128-GCM, configuration 7, an encapsulated key, a sealed inner hello.
    let sealed = [&[0, 0, 1, 0, 1, 7, 0, 32][..], &[9; 32], &[0, 64], &[8; 64]].concat();
    let outer = list(&["vault.gw.test"]);
    let found = read(&hello_with(&[(0, &outer), (0xfe0d, &sealed)])).await.unwrap();
    assert_eq!(found.unwrap().as_str(), "vault.gw.test");
    assert_eq!(read(&hello_with(&[(0xfe0d, &sealed)])).await.unwrap(), None);
}

#[tokio::test]
async fn an_address_or_nothing_is_no_name_and_what_could_be_read_in_two_ways_is_refused() {
    for address in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(read(&hello(&list(&[address]))).await.unwrap(), None, "{address}");
    }
    for names in [
        list(&["vault.gw.test", "other.gw.test"]),
        list(&["vault.gw.test", "vault.gw.test"]),
        list(&[]),
        list(&[""]),
        list(&["vault.gw.test\0.gw.test"]),
        list(&["vault gw test"]),
        list(&["vault.gw.test/"]),
        list(&["-vault.gw.test"]),
        list(&["*.gw.test"]),
        [list(&["vault.gw.test"]), vec![0]].concat(),
        list(&["vault.gw.test"])[..8].to_vec(),
    ] {
        let refused = read(&hello(&names)).await;
        assert!(refused.is_err(), "{names:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_hello_that_is_too_long_or_none_at_all_leads_nowhere() {
    let said = hello(&list(&["vault.gw.test"]));
    for length in 0..said.len() {
        assert!(read(&said[..length]).await.is_err(), "{length} of {} bytes", said.len());
    }
    // A message of 60 000 bytes, which TLS would allow.
    let endless = in_records_of(200, &[&[0; 5], &[1, 0, 0xea, 0x60][..], &vec![0; 60_000]].concat());
    let refused = Hello::read(visitor(&endless, 4096)).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "a ClientHello without end");
    for garbage in [b"GET / HTTP/1.1\r\nHost: vault.gw.test\r\n\r\n".to_vec(), vec![0xff; 5000], vec![0; 5000]] {
        assert!(read(&garbage).await.is_err());
    }
}
