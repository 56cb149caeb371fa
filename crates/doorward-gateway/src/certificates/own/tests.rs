use super::*;
use rustls_pki_types::{ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn root(scope: &str) -> Arc<OwnAuthority> {
    Arc::new(make(Scope::parse(scope).unwrap(), noon()).unwrap())
}

/// As a browser with that root installed judges it.
fn is_trusted(root: &OwnAuthority, leaf: &CertificateDer<'_>, name: &str, at: Timestamp) -> Result<(), webpki::Error> {
    let root = CertificateDer::from(root.certificate.as_slice());
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()));
    let leaf = EndEntityCert::try_from(leaf)?;
    let usage = KeyUsage::server_auth();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], time, usage, None, None)?;
    leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name.to_owned()).unwrap())
}

fn shown(signer: &Signer, name: &str, at: Timestamp) -> CertificateDer<'static> {
    let asked = name.parse::<IpAddr>().is_err().then(|| host(name));
    signer.leaf(asked.as_ref(), at).unwrap().cert[0].clone()
}

#[test]
fn every_name_of_the_scope_is_trusted_and_no_other() {
    for scope in ["gw.lan,192.0.2.1,2001:db8::1", "localhost,192.0.2.1,2001:db8::1"] {
        let root = root(scope);
        let signer = Signer::new(root.clone()).unwrap();
        let domain = root.scope.domain.to_string();
        let (below, deeper) = (format!("a.{domain}"), format!("x.a.{domain}"));
        for name in [&domain, &below, &deeper, "192.0.2.1", "2001:db8::1"] {
            is_trusted(&root, &shown(&signer, name, noon()), name, noon()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        for name in ["elsewhere.net", "192.0.2.2", "2001:db8::2"] {
            assert!(is_trusted(&root, &shown(&signer, name, noon()), name, noon()).is_err(), "{name}");
        }
    }
}

/// What a thief of the key might sign.
fn forged(root: &OwnAuthority, name: &str) -> CertificateDer<'static> {
    let signer = Signer::new(Arc::new(OwnAuthority {
        scope: Scope::new(host("unused"), []),
        certificate: root.certificate.clone(),
        key: root.key.clone(),
        not_before: root.not_before,
        not_after: root.not_after,
    }));
    let signer = signer.unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.signed_by(&signer.key, &signer.issuer).unwrap().der().clone()
}

#[test]
fn a_stolen_key_harms_no_other_site() {
    let with_address = root("gw.lan,192.0.2.1");
    is_trusted(&with_address, &forged(&with_address, "192.0.2.1"), "192.0.2.1", noon()).unwrap();
    let mut refused = 0;
    for root in [with_address, root("gw.lan")] {
        is_trusted(&root, &forged(&root, "b.gw.lan"), "b.gw.lan", noon()).unwrap();
        for name in ["example.org", "lan", "agw.lan", "192.0.2.2", "2001:db8::1"] {
            let judged = is_trusted(&root, &forged(&root, name), name, noon());
            assert!(matches!(judged, Err(webpki::Error::NameConstraintViolation)), "{name}: {judged:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 10);
}

#[test]
fn leaves_live_for_weeks_and_are_made_anew_before_they_end() {
    let root = root("gw.lan");
    let signer = Signer::new(root.clone()).unwrap();
    let first = shown(&signer, "gw.lan", noon());
    assert_eq!(shown(&signer, "a.gw.lan", noon() + DAY * 19), first, "the wildcard's is enough for all");
    assert!(is_trusted(&root, &first, "gw.lan", noon() + DAY * 31).is_err());
    let next = shown(&signer, "gw.lan", noon() + DAY * 21);
    assert_ne!(next, first);
    is_trusted(&root, &next, "gw.lan", noon() + DAY * 21).unwrap();
    // The clock is set back, from a wrong future or to a wrong past.
    let back = shown(&signer, "gw.lan", noon() - DAY * 10_000);
    is_trusted(&root, &back, "gw.lan", noon()).unwrap();
    // Towards the root's own end.
    let last = root.not_after - DAY;
    is_trusted(&root, &shown(&signer, "gw.lan", last), "gw.lan", last).unwrap();
}

#[test]
fn a_restart_makes_other_leaves_that_the_same_root_stands_for() {
    let root = root("gw.lan");
    let leaves = [(); 2].map(|()| shown(&Signer::new(root.clone()).unwrap(), "gw.lan", noon()));
    assert_ne!(leaves[0], leaves[1]);
    for leaf in &leaves {
        is_trusted(&root, leaf, "gw.lan", noon()).unwrap();
    }
    let serials = leaves.each_ref().map(|leaf| EndEntityCert::try_from(leaf).unwrap().serial().to_vec());
    assert_ne!(serials[0], serials[1]);
}

#[test]
fn strangers_who_ask_for_one_name_after_the_other_fill_no_memory() {
    let signer = Signer::new(root("localhost")).unwrap();
    for number in 0..MAX_LEAVES + 10 {
        let _leaf = shown(&signer, &format!("p{number}.localhost"), noon());
    }
    let kept = signer.leaves.lock().unwrap().len();
    assert_eq!(kept, 10);
}

#[test]
fn long_domains_fit() {
    let domain = format!("{}.{}.lan", "a".repeat(63), "b".repeat(63));
    let root = root(&domain);
    let signer = Signer::new(root.clone()).unwrap();
    is_trusted(&root, &shown(&signer, &domain, noon()), &domain, noon()).unwrap();
}
