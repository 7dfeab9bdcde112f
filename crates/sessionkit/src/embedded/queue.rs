//! Writes on their way to the one thread that does them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::tables::{Step, Tables};
use crate::StoreError;
use crate::seal::ResealProgress;

/// Tells the caller: the outcome if it is durable, an error if not.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Decides against the tables, and adds steps.
pub(super) type Decide = Box<dyn FnOnce(&Tables, &mut Vec<Step>) -> Reply + Send>;

/// What the thread is asked for.
pub(super) enum Job {
    /// A write.
    Write {
        /// Hashes of all that the decision depends on: two writes that share one never share a commit.
        claims: Vec<u64>,
        decide: Decide,
    },
    /// Seals rows anew.
    Reseal {
        limit: usize,
        reply: Box<dyn FnOnce(Result<ResealProgress, StoreError>) + Send>,
    },
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write { .. } => "Write",
            Self::Reseal { .. } => "Reseal",
        })
    }
}

/// A bounded queue with one reader, which is a thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            limit,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed {
            return Err(StoreError("the session store is closed".into()));
        }
        if state.jobs.len() >= self.limit {
            return Err(StoreError("too many writes wait for the disk".into()));
        }
        state.jobs.push_back(job);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// All that waits, after waiting `patience` for something. `None` once closed and empty.
    pub(super) fn take(&self, patience: Duration) -> Option<VecDeque<Job>> {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.closed;
        let (mut state, _) = self
            .ready
            .wait_timeout_while(self.state(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed && state.jobs.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut state.jobs))
    }

    /// What has come since, without waiting.
    pub(super) fn take_more(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.state().jobs)
    }

    /// Lets nothing in any more; what waits is still done.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.ready.notify_all();
    }
}
