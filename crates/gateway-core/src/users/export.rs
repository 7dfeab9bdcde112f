//! All users that a query selects, however many.
//!
//! Auth0 pages through the first 1000 matches only, and a page's place shifts when somebody before it is
//! deleted. So the list is walked by its key instead: always the first page, of those created at or after
//! a given instant. Where one instant fills a page, its users are walked by their id.

use auth0_api::management::{Call, Lane, ListUsers, MAX_PAGE_SIZE, Sort, User};
use auth0_api::search::{Bound, Field, Limit, Query, SearchQuery};
use tokio::time::Instant;

use crate::query::{QueryError, Selection, UserQuery};
use crate::{Error, Gateway};

/// A walk over all users that a query selects. Holds a page of them at a time.
#[derive(Debug)]
pub struct Export {
    selection: Selection,
    fields: Vec<String>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// By time of creation, from this bound on.
    ByTime(Bound),
    /// Those of one instant, by id, from this bound on.
    ById {
        at: String,
        from: Bound,
    },
    Done,
}

impl Export {
    /// Begins a walk. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the query breaks a rule, [`Error::NotConfigured`].
    pub fn new(gateway: &Gateway, query: &UserQuery) -> Result<Self, Error> {
        gateway.management()?;
        let selection = query.selection(&gateway.scope())?;
        measure(&selection)?;
        let mut fields = query.fields.clone();
        if !fields.is_empty() {
            // The walk needs them.
            for key in ["user_id", "created_at"] {
                if !fields.iter().any(|field| field == key) {
                    fields.push(key.to_owned());
                }
            }
        }
        let state = match selection {
            Selection::Nobody => State::Done,
            _ => State::ByTime(Bound::Open),
        };
        Ok(Self {
            selection,
            fields,
            state,
        })
    }

    /// The next users, at least one; `None` when all have been.
    ///
    /// # Errors
    /// What Auth0 answers; the same step can be tried again.
    pub async fn next(&mut self, gateway: &Gateway) -> Result<Option<Vec<User>>, Error> {
        loop {
            let (users, next) = match self.state.clone() {
                State::Done => return Ok(None),
                State::ByTime(from) => self.by_time(gateway, from).await?,
                State::ById { at, from } => self.by_id(gateway, at, from).await?,
            };
            self.state = next;
            if !users.is_empty() {
                return Ok(Some(users));
            }
        }
    }

    async fn by_time(&self, gateway: &Gateway, from: Bound) -> Result<(Vec<User>, State), Error> {
        let since = range(Field::created_at(), from, Bound::Open);
        let mut page = self.page(gateway, since, Field::created_at()).await?;
        if !is_full(&page) {
            return Ok((page, State::Done));
        }
        let mut created = Vec::with_capacity(page.len());
        for user in &page {
            created.push(user.key().map_err(Error::BadGateway)?.created_at);
        }
        let Some(last) = created.last().cloned() else {
            return Ok((page, State::Done));
        };
        let before = created.iter().take_while(|at| **at != last).count();
        if before == 0 {
            let from = Bound::Open;
            return Ok((Vec::new(), State::ById { at: last, from }));
        }
        // There may be more of the last instant than this page shows: all of it comes next.
        page.truncate(before);
        Ok((page, State::ByTime(Bound::Inclusive(Limit::Text(last)))))
    }

    async fn by_id(
        &self,
        gateway: &Gateway,
        at: String,
        from: Bound,
    ) -> Result<(Vec<User>, State), Error> {
        let condition = of_instant(Bound::Inclusive(Limit::Text(at.clone())), from);
        let page = self.page(gateway, condition, Field::user_id()).await?;
        let last = match page.last() {
            Some(user) if is_full(&page) => user.user_id().map_err(Error::BadGateway)?,
            _ => {
                let after = Bound::Exclusive(Limit::Text(at));
                return Ok((page, State::ByTime(after)));
            }
        };
        let from = Bound::Exclusive(Limit::Text(last));
        Ok((page, State::ById { at, from }))
    }

    /// The first page of the selection with one condition more.
    async fn page(
        &self,
        gateway: &Gateway,
        condition: Option<Query>,
        sort: Field,
    ) -> Result<Vec<User>, Error> {
        let query = search(&self.selection, condition)?;
        let request = ListUsers {
            query,
            page: 0,
            per_page: MAX_PAGE_SIZE,
            sort: Some(Sort {
                field: sort,
                descending: false,
            }),
            fields: self.fields.clone(),
            include_totals: false,
        };
        let call = Call {
            lane: Lane::Import,
            deadline: Instant::now() + gateway.settings.request_timeout,
        };
        let page = gateway.management()?.list_users(call, &request).await;
        Ok(page.map_err(Error::from_management)?.users)
    }
}

/// The selection with one condition more.
fn search(
    selection: &Selection,
    condition: Option<Query>,
) -> Result<Option<SearchQuery>, QueryError> {
    let selected = match selection {
        Selection::Users(query) => Some(query.clone()),
        Selection::Everybody | Selection::Nobody => None,
    };
    // The condition of the walk first, so that the connections stay last.
    let parts = condition.map(Query::grouped).into_iter().chain(selected);
    Query::all(parts)
        .map(|query| SearchQuery::new(&query))
        .transpose()
        .map_err(|error| QueryError::new("the query", format!("cannot be sent: {error}")))
}

/// Refuses what would become too long in the middle of the walk.
fn measure(selection: &Selection) -> Result<(), QueryError> {
    /// No id of Auth0's is longer.
    const LONGEST_ID: usize = 255;
    let at = || Bound::Inclusive(Limit::Text("9999-12-31T23:59:59.999Z".to_owned()));
    let from = Bound::Exclusive(Limit::Text("x".repeat(LONGEST_ID)));
    search(selection, of_instant(at(), from)).map(drop)
}

/// Those created at one instant, by id.
fn of_instant(at: Bound, from: Bound) -> Option<Query> {
    Query::all(
        [
            range(Field::created_at(), at.clone(), at),
            range(Field::user_id(), from, Bound::Open),
        ]
        .into_iter()
        .flatten(),
    )
}

/// `None` when both ends are open.
fn range(field: Field, from: Bound, to: Bound) -> Option<Query> {
    (from != Bound::Open || to != Bound::Open).then_some(Query::Range(field, from, to))
}

fn is_full(page: &[User]) -> bool {
    page.len() >= usize::try_from(MAX_PAGE_SIZE).unwrap_or(usize::MAX)
}
