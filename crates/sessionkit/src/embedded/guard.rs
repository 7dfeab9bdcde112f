//! A file that is not changed before it has been found good.
//!
//! Opening a redb file writes to it, and one that is damaged may be made worse by that. So until the
//! whole content has been read, writes are held back, in their order, and seen by whoever reads. Then
//! they are released, or forgotten.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// The file behind its guard. Clones share both.
#[derive(Clone, Debug)]
pub(super) struct Guarded(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Box<dyn StorageBackend>,
    released: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    steps: Vec<Step>,
    length: Option<u64>,
}

enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

// The bytes are of no use to anybody.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(at, bytes) => write!(f, "Write({at}, {} bytes)", bytes.len()),
            Self::Length(length) => write!(f, "Length({length})"),
            Self::Sync => f.write_str("Sync"),
        }
    }
}

impl Guarded {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> Self {
        Self(Arc::new(Shared {
            file,
            released: AtomicBool::new(false),
            held: Mutex::default(),
        }))
    }

    /// What is held back, unless it has been released.
    fn held(&self) -> Option<MutexGuard<'_, Held>> {
        if self.0.released.load(Ordering::Acquire) {
            return None;
        }
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been released meanwhile.
        (!self.0.released.load(Ordering::Acquire)).then_some(held)
    }

    /// Writes what was held back; from now on everything is written at once.
    pub(super) fn release(&self) -> io::Result<()> {
        let Some(mut held) = self.held() else {
            return Ok(());
        };
        for step in held.steps.drain(..) {
            match step {
                Step::Write(at, bytes) => self.0.file.write(at, &bytes)?,
                Step::Length(length) => self.0.file.set_len(length)?,
                Step::Sync => self.0.file.sync_data()?,
            }
        }
        self.0.released.store(true, Ordering::Release);
        Ok(())
    }
}

impl Held {
    /// Lays the held writes over what was read.
    fn overlay(&self, at: u64, out: &mut [u8]) {
        for step in &self.steps {
            let Step::Write(start, bytes) = step else {
                continue;
            };
            let from = at.max(*start);
            let to = (at + out.len() as u64).min(start + bytes.len() as u64);
            if from >= to {
                continue;
            }
            let part = |origin: u64| {
                let place =
                    |position: u64| usize::try_from(position - origin).unwrap_or(usize::MAX);
                place(from)..place(to)
            };
            if let (Some(target), Some(source)) = (out.get_mut(part(at)), bytes.get(part(*start))) {
                target.copy_from_slice(source);
            }
        }
    }
}

impl StorageBackend for Guarded {
    fn len(&self) -> io::Result<u64> {
        let held = self.held();
        match held.and_then(|held| held.length) {
            Some(length) => Ok(length),
            None => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Some(held) = self.held() else {
            return self.0.file.read(offset, out);
        };
        if held.steps.is_empty() {
            return self.0.file.read(offset, out);
        }
        // The file may be shorter than it is going to be.
        let there = self.0.file.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (from_file, new) = out.split_at_mut(there);
        if !from_file.is_empty() {
            self.0.file.read(offset, from_file)?;
        }
        new.fill(0);
        held.overlay(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let Some(mut held) = self.held() else {
            return self.0.file.set_len(len);
        };
        held.length = Some(len);
        held.steps.push(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let Some(mut held) = self.held() else {
            return self.0.file.sync_data();
        };
        held.steps.push(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(mut held) = self.held() else {
            return self.0.file.write(offset, data);
        };
        held.steps.push(Step::Write(offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
