use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn elsewhere(n: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n).to_be_bytes())
}

/// Guesses wrongly from a new address each time, until the account's measure is full.
fn attack(attempts: &Attempts, guessed: Guessed, name: &str, now: Instant) -> u32 {
    let mut n = 0;
    while attempts.counts().accounts.wait(&(guessed, name.to_owned()), measure(guessed), now).is_zero() {
        let _ = attempts.begin(guessed, elsewhere(n), name, now).unwrap();
        n += 1;
    }
    n
}

fn measure(guessed: Guessed) -> &'static Measure {
    match guessed {
        Guessed::Password => &AT_A_PASSWORD,
        Guessed::Code | Guessed::Pin | Guessed::Long => &AT_A_CODE,
    }
}

#[test]
fn one_source_is_slowed_down_whoever_it_guesses_at_and_its_measure_wears_off() {
    let (attempts, now) = (Attempts::default(), Instant::now());
    let guess = |from: &str, at: Instant| attempts.begin(Guessed::Password, ip(from), "anna", at).map(drop);
    for n in 0..OF_A_SOURCE.most {
        let _ = attempts.begin(Guessed::Password, ip("2001:db8::1"), &format!("name{n}"), now).unwrap();
    }
    assert_eq!(guess("2001:db8::2", now), Err(OF_A_SOURCE.every), "a neighbour of the same /64");
    assert_eq!(guess("2001:db8:0:1::1", now), Ok(()));
    assert_eq!(guess("2001:db8::1", now + OF_A_SOURCE.every), Ok(()));
    assert!(guess("2001:db8::1", now + OF_A_SOURCE.every).is_err());
    for _ in 0..OF_A_SOURCE.most {
        let _ = attempts.begin(Guessed::Password, ip("192.0.2.1"), "ben", now).unwrap();
    }
    assert!(guess("::ffff:192.0.2.1", now).is_err(), "the same in another spelling");
}

#[test]
fn what_was_right_is_not_counted() {
    let (attempts, now) = (Attempts::default(), Instant::now());
    for _ in 0..10 * OF_A_SOURCE.most {
        let attempt = attempts.begin(Guessed::Password, ip("192.0.2.1"), "anna", now).unwrap();
        attempts.was_right(attempt, now);
    }
}

#[test]
fn guessing_at_an_account_from_everywhere_shuts_nobody_out() {
    let (attempts, now) = (Attempts::default(), Instant::now());
    let known = attempts.begin(Guessed::Password, ip("203.0.113.9"), "anna", now).unwrap();
    attempts.was_right(known, now);
    assert!(attack(&attempts, Guessed::Password, "anna", now) >= AT_A_PASSWORD.most);
    let guess = |from: &str| attempts.begin(Guessed::Password, ip(from), "Anna", now).map(drop);
    assert_eq!(guess("198.51.100.1"), Ok(()), "the first try from a new place");
    assert!(guess("198.51.100.1").is_err(), "and no second");
    for _ in 0..OF_A_TRUSTED_SOURCE.most {
        assert_eq!(guess("203.0.113.9"), Ok(()), "who was right here before mistypes");
    }
    assert!(guess("203.0.113.9").is_err());
    assert!(attempts.begin(Guessed::Password, ip("198.51.100.1"), "ben", now).is_ok(), "another account");
    let later = now + AT_A_PASSWORD.every.mul_f64(40.0);
    assert!(attempts.begin(Guessed::Password, ip("198.51.100.1"), "anna", later).is_ok());
}

#[test]
fn codes_of_six_digits_are_guessed_at_so_seldom_that_none_is_hit() {
    let (attempts, now) = (Attempts::default(), Instant::now());
    let known = attempts.begin(Guessed::Code, ip("203.0.113.9"), "anna", now).unwrap();
    attempts.was_right(known, now);
    assert_eq!(attack(&attempts, Guessed::Code, "anna", now), AT_A_CODE.most);
    let guess = |from: &str, at: Instant| attempts.begin(Guessed::Code, ip(from), "anna", at).map(drop);
    assert_eq!(guess("198.51.100.1", now), Err(AT_A_CODE.every), "not even the first from a new place");
    assert_eq!(guess("203.0.113.9", now), Ok(()));
    assert!(attempts.begin(Guessed::Long, ip("198.51.100.1"), "anna", now).is_ok(), "a recovery code");
    let (mut looked_at, mut at) = (0, now);
    while at < now + Duration::from_secs(24 * 60 * 60) {
        at += Duration::from_secs(60);
        looked_at += u32::from(guess("198.51.100.1", at).is_ok());
    }
    assert!((140..=160).contains(&looked_at), "{looked_at} a day, of a million codes");
}

#[test]
fn what_is_counted_is_bounded_and_an_account_under_attack_stays_counted() {
    let (attempts, now) = (Attempts::default(), Instant::now());
    attack(&attempts, Guessed::Password, "anna", now);
    for n in 0..u32::try_from(MOST_COUNTED).unwrap() + 50 {
        let attempt = attempts.begin(Guessed::Password, elsewhere(n), &format!("name{n}"), now).unwrap();
        if n % 2 == 0 {
            attempts.was_right(attempt, now);
        }
    }
    let counts = attempts.counts();
    assert!(counts.sources.0.len() <= MOST_COUNTED && counts.accounts.0.len() <= MOST_COUNTED);
    assert!(counts.pairs.0.len() <= MOST_COUNTED && counts.right.len() <= MOST_COUNTED);
    let anna = (Guessed::Password, "anna".to_owned());
    assert!(!counts.accounts.wait(&anna, &AT_A_PASSWORD, now).is_zero());
}
