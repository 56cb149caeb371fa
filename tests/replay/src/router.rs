//! What a home router answers, or whoever pretends to be it.

use doorward_portmap::fuzzing::{
    INTERNAL_PORT, Mapped, NONCE, ROUTER, description, natpmp_answer, pcp_answer, search_answer, soap_answer,
};

/// `parser │ bytes`: only an answer to our own question counts, and nothing leads anywhere but to the router.
pub fn router_answer(data: &[u8]) {
    let Some((&parser, bytes)) = data.split_first() else { return };
    match parser {
        b'p' => check_pcp(bytes),
        b'n' => check_natpmp(bytes),
        b's' => {
            let Some((address, path)) = search_answer(bytes) else { return };
            assert_eq!(*address.ip(), ROUTER);
            assert!(address.port() != 0 && !path.contains(|c: char| c.is_whitespace() || c.is_control()), "{path:?}");
        }
        b'd' => {
            let places = description(bytes);
            assert!(places.len() <= 4 && places.iter().all(|place| *place.ip() == ROUTER), "{places:?}");
        }
        _ => {
            if let Some(Ok(Some(address))) = soap_answer(bytes) {
                assert!(address.chars().count() <= 1024 && address.trim() == address);
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// RFC 6887, 7.2 and 11.1.
fn check_pcp(bytes: &[u8]) {
    let Some(Mapped { epoch, lifetime, address, port }) = pcp_answer(bytes) else { return };
    assert!((60..=1100).contains(&bytes.len()));
    assert_eq!((bytes[0], bytes[1], bytes[3]), (2, 0x81, 0));
    assert_eq!((bytes[24..36].to_vec(), bytes[36]), (NONCE.to_vec(), 6));
    assert_eq!(bytes[40..42], INTERNAL_PORT.to_be_bytes());
    assert_eq!((word(bytes, 4), word(bytes, 8)), (u32::try_from(lifetime.as_secs()).expect("32 bits"), epoch));
    assert_eq!(
        (bytes[42..44].to_vec(), bytes[44..56].to_vec()),
        (port.to_be_bytes().to_vec(), [&[0; 10][..], &[0xff; 2]].concat())
    );
    assert_eq!(address.map(u32::from), Some(word(bytes, 56)));
}

/// RFC 6886, 3.3.
fn check_natpmp(bytes: &[u8]) {
    let Some(Mapped { epoch, lifetime, port, .. }) = natpmp_answer(bytes) else { return };
    assert_eq!(bytes.len(), 16);
    assert_eq!(bytes[..4], [0, 0x82, 0, 0]);
    assert_eq!((word(bytes, 4), bytes[8..10].to_vec()), (epoch, INTERNAL_PORT.to_be_bytes().to_vec()));
    assert_eq!(bytes[10..12], port.to_be_bytes());
    assert_eq!(u64::from(word(bytes, 12)), lifetime.as_secs());
}
