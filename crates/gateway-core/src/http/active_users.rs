//! `/users/active`: who has a live session.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;

use super::body::Body;
use super::context::Context;
use super::respond::{self, Answer};
use super::users::acl;
use crate::Error;
use crate::error::BoxError;
use crate::gateway::Gateway;
use crate::query::Selection;

/// How many users are asked of the store at a time: what a listing holds in memory.
const PAGE: usize = 1000;

/// `GET /users/active`: streamed in the order of the ids, page by page.
pub(super) async fn list(gateway: &Arc<Gateway>, context: &Context<'_>) -> Result<Answer, Error> {
    let params = context.query()?;
    params.only(&["_l", "_sk"])?;
    if acl(context)? != Selection::Everybody {
        return Err(Error::BadRequest(
            "acl_rows cannot narrow the list of active users: only Auth0 knows what it asks of them"
                .to_owned(),
        ));
    }
    let limit = params.number("_l", 1, usize::MAX)?.unwrap_or(usize::MAX);
    let skip = params.number("_sk", 0, usize::MAX)?.unwrap_or(0);
    // The first page is read before the status is decided: a store that is away is a 503.
    let mut walk = Walk {
        gateway: Arc::clone(gateway),
        after: None,
        skip,
        left: limit,
        written: false,
        open: true,
    };
    let mut first = vec![b'['];
    walk.page(&mut first).await?;
    let stream = stream::unfold((walk, Some(first)), |(mut walk, first)| async move {
        if let Some(first) = first {
            return Some((Ok(Bytes::from(first)), (walk, None)));
        }
        if !walk.open {
            return None;
        }
        let mut chunk = vec![];
        // A fault in the middle breaks the connection: a short list would look whole.
        let result = walk.page(&mut chunk).await.map(|()| Bytes::from(chunk));
        Some((result.map_err(BoxError::from), (walk, None)))
    });
    let mut answer = respond::json_bytes(StatusCode::OK, Bytes::new());
    *answer.body_mut() = Body::stream(Box::pin(stream));
    Ok(answer)
}

struct Walk {
    gateway: Arc<Gateway>,
    after: Option<String>,
    skip: usize,
    left: usize,
    written: bool,
    open: bool,
}

impl Walk {
    /// Appends the next users, and the end of the list where it is reached.
    async fn page(&mut self, chunk: &mut Vec<u8>) -> Result<(), Error> {
        let sessions = &self.gateway.sessions;
        let wanted = PAGE.min(self.left.saturating_add(self.skip));
        let page = sessions
            .store()
            .active_subjects(self.after.clone(), wanted, sessions.now())
            .await?;
        for subject in &page {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            if self.written {
                chunk.push(b',');
            }
            self.written = true;
            chunk.extend_from_slice(
                serde_json::json!({ "userId": subject })
                    .to_string()
                    .as_bytes(),
            );
        }
        if page.len() < wanted || self.left == 0 {
            self.open = false;
            chunk.push(b']');
        }
        self.after = page.into_iter().next_back().or(self.after.take());
        Ok(())
    }
}
