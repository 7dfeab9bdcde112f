use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

fn keys(bytes: &[u8]) -> EncryptionKeys {
    let text: Vec<String> = bytes.iter().map(|b| STANDARD.encode([*b; 32])).collect();
    EncryptionKeys::parse(&text.join(",")).unwrap()
}

const HERE: Place<'static> = Place {
    kind: Kind::Session,
    key: b"key",
    owner: b"owner",
    version: 7,
};

fn sealed(keys: &EncryptionKeys, place: &Place<'_>, content: &[u8]) -> Vec<u8> {
    let write = |out: &mut Vec<u8>| out.extend_from_slice(content);
    keys.seal(place, b"", content.len(), write).unwrap()
}

proptest! {
    #[test]
    fn what_is_sealed_opens(content: Vec<u8>, key: Vec<u8>, owner: Vec<u8>, version: u64) {
        let place = Place { kind: Kind::Record, key: &key, owner: &owner, version };
        let keys = keys(b"a");
        let bytes = sealed(&keys, &place, &content);
        let opened = keys.open(&place, &bytes).unwrap();
        prop_assert_eq!(opened.as_slice(), content.as_slice());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        prop_assert!(keys(b"a").open(&HERE, &bytes).is_err());
    }
}

#[test]
fn threat_21_each_flipped_bit_is_refused() {
    let keys = keys(b"a");
    let good = sealed(&keys, &HERE, b"a refresh token");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(keys.open(&HERE, &bad).is_err(), "bit {bit}");
    }
}

#[test]
fn threat_21_a_cut_off_tag_is_refused() {
    let keys = keys(b"a");
    let good = sealed(&keys, &HERE, b"a refresh token");
    for length in 0..good.len() {
        assert!(keys.open(&HERE, &good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn threat_21_swapped_nonces_are_refused() {
    let keys = keys(b"a");
    let (mut one, mut two) = (sealed(&keys, &HERE, b"one"), sealed(&keys, &HERE, b"two"));
    one[5..HEAD].swap_with_slice(&mut two[5..HEAD]);
    assert_eq!(keys.open(&HERE, &one).unwrap_err(), SealError::Forged);
    assert_eq!(keys.open(&HERE, &two).unwrap_err(), SealError::Forged);
}

#[test]
fn threat_42_a_value_does_not_open_in_another_place() {
    let keys = keys(b"a");
    let bytes = sealed(&keys, &HERE, b"mine");
    for place in [
        Place {
            key: b"other",
            ..HERE
        },
        Place {
            owner: b"else",
            ..HERE
        },
        Place { version: 8, ..HERE },
        Place {
            kind: Kind::OneTime,
            ..HERE
        },
        // The same bytes, cut between key and owner elsewhere.
        Place {
            key: b"keyo",
            owner: b"wner",
            ..HERE
        },
    ] {
        assert_eq!(keys.open(&place, &bytes).unwrap_err(), SealError::Forged);
    }
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, both, new) = (keys(b"a"), keys(b"ba"), keys(b"b"));
    let bytes = sealed(&old, &HERE, b"x");
    assert!(both.open(&HERE, &bytes).is_ok());
    assert_eq!(
        new.open(&HERE, &bytes).unwrap_err(),
        SealError::NoKey(old.newest())
    );
    assert!(new.open(&HERE, &sealed(&both, &HERE, b"x")).is_ok());
}

#[test]
fn the_setting_names_what_is_wrong() {
    let good = STANDARD.encode([1; 32]);
    let error = |text: &str| EncryptionKeys::parse(text).unwrap_err().to_string();
    insta::assert_snapshot!(error(" ,\n"), @"no encryption key given");
    insta::assert_snapshot!(error(&format!("{good},!!!")), @"encryption key 2 is not base64");
    insta::assert_snapshot!(error("c2hvcnQ="), @"encryption key 1 has 5 bytes, and 32 are needed");
    insta::assert_snapshot!(error(&format!("{good}\n{good}")), @"encryption key 2 is given twice");
    assert!(EncryptionKeys::parse(good.trim_end_matches('=')).is_ok());
}

#[test]
fn debug_shows_no_key() {
    let keys = EncryptionKeys::parse(&STANDARD.encode([0xab; 32])).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.len() < 20 && !shown.contains("q6ur"), "{shown}");
}

#[test]
fn a_key_file_is_made_once_and_only_for_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.key");
    let made: Vec<KeyId> = std::thread::scope(|scope| {
        let make = || EncryptionKeys::load_or_create(&path).unwrap().newest();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    std::fs::write(&path, "nonsense").unwrap();
    let error = EncryptionKeys::load_or_create(&path).unwrap_err();
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
}
