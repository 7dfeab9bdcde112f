use super::*;

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn at(seconds: i64) -> OffsetDateTime {
    START + time::Duration::seconds(seconds)
}

fn tokens(settings: RefreshTokenSettings) -> RefreshTokens {
    let mut tokens = RefreshTokens::new(settings);
    tokens.issue("t1".to_owned(), Grant::of("auth0|mia", "app"), START);
    tokens
}

fn rotating(leeway: u64) -> RefreshTokens {
    tokens(RefreshTokenSettings {
        leeway: Duration::from_secs(leeway),
        ..RefreshTokenSettings::default()
    })
}

/// Exchanges `old` for `new`.
fn exchange(tokens: &mut RefreshTokens, old: &str, new: &str, now: i64) -> Result<(), Dead> {
    tokens.check(old, "app", at(now))?;
    tokens.exchange(old, Some(new.to_owned()), at(now));
    Ok(())
}

#[test]
fn reuse_kills_the_newest_token_too() {
    let mut tokens = rotating(0);
    exchange(&mut tokens, "t1", "t2", 1).unwrap();
    exchange(&mut tokens, "t2", "t3", 2).unwrap();
    assert!(tokens.is_live("t3", at(2)));
    assert_eq!(exchange(&mut tokens, "t1", "x", 2), Err(Dead::Reused));
    assert!(!tokens.is_live("t3", at(2)));
    assert_eq!(exchange(&mut tokens, "t3", "x", 2), Err(Dead::Unknown));
    assert_eq!(tokens.reuses(), 1);
}

#[test]
fn without_leeway_not_even_the_same_instant_is_forgiven() {
    let mut tokens = rotating(0);
    exchange(&mut tokens, "t1", "t2", 1).unwrap();
    assert_eq!(exchange(&mut tokens, "t1", "t3", 1), Err(Dead::Reused));
}

#[test]
fn the_immediately_previous_token_forks_the_family_within_the_leeway() {
    let mut tokens = rotating(30);
    exchange(&mut tokens, "t1", "t2", 0).unwrap();
    exchange(&mut tokens, "t1", "t3", 30).unwrap();
    assert!(tokens.is_live("t2", at(30)));
    assert!(tokens.is_live("t3", at(30)));
    assert_eq!(
        exchange(&mut tokens, "t1", "t4", 31),
        Err(Dead::Reused),
        "the leeway counts from the first exchange"
    );
}

#[test]
fn the_second_to_last_token_raises_the_alarm_also_within_the_leeway() {
    let mut tokens = rotating(30);
    exchange(&mut tokens, "t1", "t2", 0).unwrap();
    exchange(&mut tokens, "t2", "t3", 1).unwrap();
    assert_eq!(exchange(&mut tokens, "t1", "x", 2), Err(Dead::Reused));
    assert!(!tokens.is_live("t3", at(2)));
}

#[test]
fn the_idle_life_starts_again_and_the_absolute_one_does_not() {
    let mut tokens = tokens(RefreshTokenSettings {
        idle_lifetime: Duration::from_secs(10),
        absolute_lifetime: Duration::from_secs(25),
        ..RefreshTokenSettings::default()
    });
    exchange(&mut tokens, "t1", "t2", 9).unwrap();
    exchange(&mut tokens, "t2", "t3", 18).unwrap();
    assert!(tokens.is_live("t3", at(24)));
    assert_eq!(exchange(&mut tokens, "t3", "t4", 25), Err(Dead::Unknown));

    let mut idle = rotating(0);
    idle.settings.idle_lifetime = Duration::from_secs(10);
    exchange(&mut idle, "t1", "t2", 1).unwrap();
    assert_eq!(exchange(&mut idle, "t2", "t3", 11), Err(Dead::Unknown));
}

#[test]
fn without_rotation_the_token_stays() {
    let mut tokens = tokens(RefreshTokenSettings {
        rotation: false,
        idle_lifetime: Duration::from_secs(10),
        ..RefreshTokenSettings::default()
    });
    for now in [5, 10, 15] {
        tokens.check("t1", "app", at(now)).unwrap();
        tokens.exchange("t1", None, at(now));
    }
    assert!(tokens.is_live("t1", at(24)));
    assert!(!tokens.is_live("t1", at(25)));
}

#[test]
fn the_oldest_of_201_goes_silently() {
    let mut tokens = rotating(0);
    for n in 2..=201 {
        tokens.issue(format!("t{n}"), Grant::of("auth0|mia", "app"), START);
    }
    tokens.issue("other".to_owned(), Grant::of("auth0|mia", "other"), START);
    assert_eq!(tokens.check("t1", "app", START), Err(Dead::Unknown));
    assert_eq!(tokens.reuses(), 0);
    assert!(tokens.is_live("t2", START));
    assert!(tokens.is_live("t201", START));
}

#[test]
fn another_application_neither_uses_nor_revokes_nor_kills_it() {
    let mut tokens = rotating(0);
    exchange(&mut tokens, "t1", "t2", 1).unwrap();
    assert_eq!(tokens.check("t1", "thief", at(1)), Err(Dead::Unknown));
    assert_eq!(tokens.revoke("t2", "thief"), Err(()));
    assert!(tokens.is_live("t2", at(1)));
    assert_eq!(tokens.revoke("t2", "app"), Ok(()));
    assert!(!tokens.is_live("t2", at(1)));
    assert_eq!(tokens.revoke("never", "app"), Ok(()));
}
