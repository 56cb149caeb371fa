//! Password hashes: Argon2id with OWASP's minimum for it (Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane).
//! Both functions take tens of milliseconds and 19 MiB: call them off the runtime's threads, a few at a time.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use doorward_core::Secret;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The PHC string (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`) that rests instead of the password.
pub fn hash(password: &Secret<String>) -> String {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within Argon2's limits");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password(password.expose().as_bytes());
    hash.expect("the operating system has random bytes for the salt").to_string()
}

/// Whether `password` is the one behind `phc`. A hash that cannot be read fits nothing.
pub fn verify(phc: &str, password: &Secret<String>) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else { return false };
    Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
}

/// Whether a hash made today would cost more to try.
pub fn is_outdated(phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else { return true };
    let Ok(params) = Params::try_from(&hash) else { return true };
    hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
        || params.m_cost() < MEMORY_KIB
        || params.t_cost() < PASSES
        || params.p_cost() < LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_alone_and_says_its_cost() {
        let secret = |text: &str| Secret::new(text.to_owned());
        let phc = hash(&secret("correct horse"));
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&phc, &secret("correct horse")));
        assert!(!verify(&phc, &secret("correct house")));
        assert!(!verify("nonsense", &secret("correct horse")));
        assert_ne!(phc, hash(&secret("correct horse")), "each has a salt of its own");
    }

    #[test]
    fn a_hash_that_would_be_dearer_today_is_outdated() {
        assert!(!is_outdated(&hash(&Secret::new("correct horse".to_owned()))));
        let rest = "c29tZXNhbHQxMjM0NTY$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ";
        assert!(!is_outdated(&format!("$argon2id$v=19$m=65536,t=3,p=1${rest}")), "dearer than ours");
        for cheap in ["argon2id$v=19$m=9216,t=2,p=1", "argon2id$v=19$m=19456,t=1,p=1", "argon2i$v=19$m=65536,t=3,p=1"] {
            assert!(is_outdated(&format!("${cheap}${rest}")), "{cheap}");
        }
        assert!(is_outdated("nonsense"));
    }
}
