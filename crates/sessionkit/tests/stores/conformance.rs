//! Every engine does what the ports say.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use sessionkit::embedded::EmbeddedOptions;
use sessionkit::testing::{TestClock, conformance};
use sessionkit::{
    Created, Credential, EmbeddedStore, EncryptionKeys, MemoryStore, SessionStore, Swap, Timestamp,
};

const NOW: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);

#[tokio::test]
async fn the_memory_store_conforms() {
    let broken = conformance::check(&MemoryStore::new()).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}

fn options() -> EmbeddedOptions {
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let mut options = EmbeddedOptions::new(EncryptionKeys::parse(&key).unwrap());
    options.clock = Arc::new(TestClock::default());
    options
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("sessions.redb"), options()).unwrap();
    let broken = conformance::check(&store).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Every engine that can be had without a server.
fn engines(folder: &Path) -> Vec<Arc<dyn SessionStore>> {
    let embedded = EmbeddedStore::open(&folder.join("sessions.redb"), options()).unwrap();
    vec![Arc::new(MemoryStore::new()), Arc::new(embedded)]
}

#[tokio::test]
async fn threat_39_an_id_or_credential_in_use_is_never_taken() {
    let folder = tempfile::tempdir().unwrap();
    for store in engines(folder.path()) {
        let victim = conformance::session("victim", 1, b"victim", NOW);
        store.create(victim, NOW).await.unwrap();
        let same_id = conformance::session("victim", 1, b"other", NOW);
        let created = store.create(same_id, NOW).await.unwrap();
        assert!(matches!(created, Created::IdTaken), "{created:?}");
        let same_credential = conformance::session("thief", 2, b"victim", NOW);
        let created = store.create(same_credential, NOW).await.unwrap();
        assert!(matches!(created, Created::CredentialTaken), "{created:?}");
        // Nor by a change of the thief's own session.
        let own = conformance::session("thief", 3, b"thief", NOW);
        let moved = conformance::moved(&own, b"victim", NOW);
        store.create(own, NOW).await.unwrap();
        let own = conformance::session("thief", 3, b"thief", NOW);
        let swap = store
            .compare_and_swap(&own, moved, None, NOW)
            .await
            .unwrap();
        assert!(matches!(swap, Swap::CredentialTaken), "{swap:?}");
        let found = store.load(&Credential::of(b"victim"), NOW).await.unwrap();
        assert_eq!(found.unwrap().subject(), "victim");
    }
}

#[tokio::test]
async fn threat_30_a_credential_that_was_ended_is_the_next_ones_alone() {
    let folder = tempfile::tempdir().unwrap();
    for store in engines(folder.path()) {
        let first = conformance::session("a", 1, b"shared browser", NOW);
        let moved = conformance::moved(&first, b"shared browser 2", NOW);
        store.create(first, NOW).await.unwrap();
        let first = conformance::session("a", 1, b"shared browser", NOW);
        store
            .compare_and_swap(&first, moved, None, NOW)
            .await
            .unwrap();
        store.end("a", first.id(), NOW).await.unwrap().unwrap();
        // B signs in with the cookie of A still there; a refresh of A's that was under way comes late.
        let second = conformance::session("b", 2, b"shared browser", NOW);
        store.create(second, NOW).await.unwrap();
        let late = conformance::refreshed(&first, "late", NOW);
        let swap = store
            .compare_and_swap(&first, late, None, NOW)
            .await
            .unwrap();
        assert!(matches!(swap, Swap::Ended), "{swap:?}");
        for value in [b"shared browser".as_slice(), b"shared browser 2"] {
            let found = store.load(&Credential::of(value), NOW).await.unwrap();
            assert!(found.is_none_or(|session| session.subject() == "b"));
        }
    }
}
