//! Every engine does what the ports say.

use std::sync::Arc;

use base64::Engine as _;
use sessionkit::embedded::EmbeddedOptions;
use sessionkit::testing::{TestClock, conformance};
use sessionkit::{EmbeddedStore, EncryptionKeys, MemoryStore};

#[tokio::test]
async fn the_memory_store_conforms() {
    let broken = conformance::check(&MemoryStore::new()).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let mut options = EmbeddedOptions::new(EncryptionKeys::parse(&key).unwrap());
    options.clock = Arc::new(TestClock::default());
    let store = EmbeddedStore::open(&folder.path().join("sessions.redb"), options).unwrap();
    let broken = conformance::check(&store).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}
