//! Certificates of people: keys that let in for some hours, signed by the gateway's own authority. What was signed is
//! written down, and counts only while that stands.

use super::{KeyFingerprint, SshHolder, person_named};
use crate::snapshot::KeyState;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::Secret;
use doorward_core::access::Networks;
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::ssh::PublicKey;
use doorward_core::ssh::certificate::{Issued, SOURCE_ADDRESS};
use jiff::{SignedDuration, Timestamp};
use rpds::RedBlackTreeMapSync;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

/// What is known of a certificate that was not taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshCertificate {
    pub issued: Issued,
    pub fingerprint: KeyFingerprint,
    pub created_at: Timestamp,
    pub until: Timestamp,
}

/// What somebody shall be given.
#[derive(Clone, Debug)]
pub struct CertificateWish {
    pub person: Label,
    pub key: PublicKey,
    pub span: SignedDuration,
    /// Where it counts, as CIDRs; none: everywhere.
    pub sources: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct SshCertificates {
    pub(crate) authority: Option<PublicKey>,
    pub(crate) by_key: RedBlackTreeMapSync<(KeyFingerprint, u64), SshCertificate>,
}

/// Whoever is let in for longer is given a key (`doorward people add-key`).
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_secs(60);
/// A machine that checks it may be late by so much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Of one person, at once.
const MOST: usize = 40;
const SEALED_AS: &str = "ssh_authorities";
/// What sshd gives to whoever comes by it; nothing of it concerns the gateway.
const EXTENSIONS: [&str; 2] = ["permit-port-forwarding", "permit-pty"];

impl Control {
    /// Signs a key. The answer is the line of an `id-cert.pub`.
    pub async fn certify(&self, wish: CertificateWish, now: Timestamp) -> Result<String, EditError> {
        self.write(move |work| Box::pin(certify(work, wish, now))).await
    }

    /// The key by which certificates are signed, as in a .pub file; made if there is none yet.
    pub async fn ssh_authority(&self, now: Timestamp) -> Result<PublicKey, StoreError> {
        if let Some(known) = self.snapshot().ssh_authority() {
            return Ok(known.clone());
        }
        let key = self.write(move |work| Box::pin(authority(work, now))).await?;
        to_ours(&key)
    }

    /// Takes a certificate back, and with it what stands by it.
    pub async fn revoke_ssh_certificate(&self, serial: u64, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(revoke(work, serial, now))).await
    }
}

async fn certify(work: &mut Work, wish: CertificateWish, now: Timestamp) -> Result<String, EditError> {
    let CertificateWish { person, key, span, sources } = wish;
    let invalid = |why: String| Err(EditError::Invalid(why));
    if span < SHORTEST || span > LONGEST {
        return invalid(format!(
            "a certificate is good for 1m to {}d; who shall come in for longer is given a key: `doorward people add-key {person}`",
            LONGEST.as_hours() / 24
        ));
    }
    Networks::parse(&sources).map_err(|error| EditError::Invalid(error.to_string()))?;
    let fingerprint = KeyFingerprint::of(&key);
    let account = person_named(work, &person, now).await?;
    let is_foreign = |holder: &SshHolder| *holder != SshHolder::Person(account);
    if work.draft.ssh_key(&fingerprint).is_some_and(|k| k.state != KeyState::Active || is_foreign(&k.holder)) {
        let why = format!("the key {fingerprint} is known already: `doorward ssh-keys` shows whose it is");
        return Err(EditError::Taken(why));
    }
    if work.draft.ssh_certificates_of(&fingerprint).any(|other| other.issued.person != person) {
        let why = format!("the key {fingerprint} is in somebody else's certificate: `doorward people certificates`");
        return Err(EditError::Taken(why));
    }
    forget_what_is_over(work, now).await?;
    if work.draft.ssh_certificates().filter(|other| other.issued.person == person && now < other.until).count() >= MOST
    {
        return invalid(format!("{person} has {MOST} certificates, which is as many as one may have at once"));
    }
    // Certificates count in whole seconds.
    let until = now.checked_add(span).and_then(|until| Timestamp::from_second(until.as_second()));
    let until = until.map_err(|_| EditError::Invalid("the clock is wrong".to_owned()))?;
    let serial = work.next_id("ssh-certificate").await?;
    let signed = sign(&authority(work, now).await?, serial, &person, &key, &sources, (now, until))
        .map_err(|error| EditError::Invalid(format!("this key cannot be certified: {error}")))?;
    insert(work, serial, &person, &key, (now, until)).await?;
    work.refresh_ssh_certificates().await?;
    let what = format!("number {serial} of {fingerprint} until {until:.0}");
    work.write_down(Deed::SshCertificateMade, person.as_str(), &what, now).await?;
    Ok(signed)
}

fn sign(
    authority: &PrivateKey,
    serial: i64,
    person: &Label,
    key: &PublicKey,
    sources: &[String],
    (now, until): (Timestamp, Timestamp),
) -> Result<String, ssh_key::Error> {
    let key = ssh_key::PublicKey::from_openssh(&key.to_string())?;
    let seconds = |at: Timestamp| u64::try_from(at.as_second()).unwrap_or(0);
    let from = now.checked_sub(CLOCKS_DIFFER).unwrap_or(now);
    let mut nonce = [0; Builder::RECOMMENDED_NONCE_SIZE];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system gives random bytes");
    let mut builder = Builder::new(nonce, key.key_data().clone(), seconds(from), seconds(until))?;
    builder.serial(serial.unsigned_abs())?.cert_type(CertType::User)?;
    builder.key_id(format!("{person}-{serial}"))?.valid_principal(person.as_str())?;
    builder.comment(person.as_str())?;
    if !sources.is_empty() {
        builder.critical_option(SOURCE_ADDRESS, sources.join(","))?;
    }
    for extension in EXTENSIONS {
        builder.extension(extension, "")?;
    }
    builder.sign(authority)?.to_openssh()
}

async fn insert(
    work: &mut Work,
    serial: i64,
    person: &Label,
    key: &PublicKey,
    (now, until): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO ssh_certificates (serial, person, fingerprint, key, created_at, until) \
                          VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(INSERT)
        .bind(serial)
        .bind(person.as_str())
        .bind(words::hex(&KeyFingerprint::of(key).0))
        .bind(key.to_string())
        .bind(words::time(now))
        .bind(words::time(until))
        .execute(work.connection())
        .await?;
    Ok(())
}

/// What is over is nobody's any more, but a day long whoever comes by it is told why.
async fn forget_what_is_over(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let kept = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    sqlx::query("DELETE FROM ssh_certificates WHERE until < $1")
        .bind(words::time(kept))
        .execute(work.connection())
        .await?;
    work.refresh_ssh_certificates().await
}

async fn authority(work: &mut Work, now: Timestamp) -> Result<PrivateKey, StoreError> {
    let rows = sqlx::query("SELECT sealed_key FROM ssh_authorities ORDER BY created_at DESC LIMIT 1");
    if let Some(row) = rows.fetch_optional(work.connection()).await? {
        let opened = work.shared.seal.open(SEALED_AS, row.try_get("sealed_key")?)?;
        return PrivateKey::from_openssh(opened.expose())
            .map_err(|_| StoreError::Strange("the key that signs certificates of people".into()));
    }
    let mut seed = [0; Ed25519Keypair::BYTE_SIZE / 2];
    aws_lc_rs::rand::fill(&mut seed).expect("the system gives random bytes");
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let text = Secret::new(key.to_openssh(LineEnding::LF).expect("a key just made can be written").to_string());
    let sealed = work.shared.seal.seal(SEALED_AS, text.expose().as_bytes());
    sqlx::query("INSERT INTO ssh_authorities (public_key, sealed_key, created_at) VALUES ($1, $2, $3)")
        .bind(to_ours(&key)?.to_string())
        .bind(sealed)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    work.refresh_ssh_certificates().await?;
    Ok(key)
}

fn to_ours(key: &PrivateKey) -> Result<PublicKey, StoreError> {
    let strange = || StoreError::Strange("the key that signs certificates of people".into());
    key.public_key().to_bytes().ok().and_then(|blob| PublicKey::from_blob(&blob).ok()).ok_or_else(strange)
}

async fn revoke(work: &mut Work, serial: u64, now: Timestamp) -> Result<(), EditError> {
    let known = work.draft.ssh_certificates().find(|known| known.issued.serial == serial).cloned();
    let known = known.ok_or_else(|| EditError::Unknown(format!("SSH certificate {serial}")))?;
    sqlx::query("DELETE FROM ssh_certificates WHERE serial = $1")
        .bind(i64::try_from(serial).unwrap_or(i64::MAX))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_ssh_certificates().await?;
    let person = known.issued.person.as_str();
    Ok(work.write_down(Deed::SshCertificateRevoked, person, &format!("number {serial}"), now).await?)
}

/// With the person whose they are.
pub(crate) async fn forget_all_of(work: &mut Work, person: &Label) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM ssh_certificates WHERE person = $1")
        .bind(person.as_str())
        .execute(work.connection())
        .await?;
    work.refresh_ssh_certificates().await
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<SshCertificates, StoreError> {
    let key = sqlx::query_scalar("SELECT public_key FROM ssh_authorities ORDER BY created_at DESC LIMIT 1");
    let key: Option<String> = key.fetch_optional(&mut *connection).await?;
    let authority = key.map(|text| text.parse().map_err(|_| words::strange("an SSH key", &text))).transpose()?;
    let rows = sqlx::query("SELECT serial, person, fingerprint, key, created_at, until FROM ssh_certificates");
    let mut by_key = RedBlackTreeMapSync::new_sync();
    for row in rows.fetch_all(connection).await? {
        let certificate = read(&row)?;
        by_key.insert_mut((certificate.fingerprint, certificate.issued.serial), certificate);
    }
    Ok(SshCertificates { authority, by_key })
}

fn read(row: &SqliteRow) -> Result<SshCertificate, StoreError> {
    let key: &str = row.try_get("key")?;
    Ok(SshCertificate {
        issued: Issued {
            serial: row.try_get::<i64, _>("serial")?.unsigned_abs(),
            person: words::read_label(row.try_get("person")?)?,
            key: key.parse().map_err(|_| words::strange("an SSH key", key))?,
        },
        fingerprint: KeyFingerprint(words::read_hex_32(row.try_get("fingerprint")?)?),
        created_at: words::read_time(row.try_get("created_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
    })
}
