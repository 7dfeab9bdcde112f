//! Listing and counting.

use std::collections::HashSet;

use auth0_api::management::{ListUsers, Sort, User, UserPage};
use auth0_api::search::{Field, SearchQuery};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::admin;
use crate::query::{Page, QueryError, UserQuery};
use crate::{Error, Gateway};

const USER_ID: &str = "user_id";

/// What a query would send to Auth0.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// `q`; none lists everybody.
    pub q: Option<String>,
    /// The pages; none of them when nobody can match.
    pub pages: Vec<Page>,
    /// `sort`
    pub sort: Option<String>,
    /// `fields`
    pub fields: Vec<String>,
}

impl Gateway {
    /// The users that a query selects, in Auth0's order.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the query breaks a rule, [`Error::NotConfigured`], and what Auth0
    /// answers.
    pub async fn list_users(
        &self,
        query: &UserQuery,
        deadline: Instant,
    ) -> Result<Vec<User>, Error> {
        let management = self.management()?;
        let Some(request) = self.request(query)? else {
            return Ok(Vec::new());
        };
        let fetch = |page: Page| {
            let request = ListUsers {
                page: page.page,
                per_page: page.per_page,
                ..request.clone()
            };
            async move { management.list_users(admin(deadline), &request).await }
        };
        let pages = query.slice.pages();
        let Some((first, rest)) = pages.split_first() else {
            return Ok(Vec::new());
        };
        let mut users = fetch(*first).await.map_err(Error::from_management)?.users;
        // Calls are what a tenant has least of: a first page that is not full is the whole list.
        let full = users.len() >= usize::try_from(first.per_page).unwrap_or(usize::MAX);
        if full && !rest.is_empty() {
            let rest = try_join_all(rest.iter().map(|page| fetch(*page)));
            for UserPage { users: more, .. } in rest.await.map_err(Error::from_management)? {
                users.extend(more);
            }
            // Somebody created between two pages moves a user from one to the next.
            let mut seen = HashSet::with_capacity(users.len());
            users.retain(|user| user.user_id().map_or(true, |id| seen.insert(id)));
        }
        let limit = usize::try_from(query.slice.limit()).unwrap_or(usize::MAX);
        let slice = users.into_iter().skip(query.slice.offset()).take(limit);
        if request.fields.len() == query.fields.len() {
            return Ok(slice.collect());
        }
        let kept = |user: User| user.without(USER_ID).map_err(Error::BadGateway);
        slice.map(kept).collect()
    }

    /// How many users a query selects.
    ///
    /// # Errors
    /// As [`Self::list_users`].
    pub async fn count_users(&self, query: &UserQuery, deadline: Instant) -> Result<u64, Error> {
        let management = self.management()?;
        let Some(request) = self.request(query)? else {
            return Ok(0);
        };
        let request = ListUsers {
            page: 0,
            per_page: 1,
            sort: None,
            fields: vec![USER_ID.to_owned()],
            include_totals: true,
            ..request
        };
        let page = management
            .list_users(admin(deadline), &request)
            .await
            .map_err(Error::from_management)?;
        page.total
            .ok_or(Error::BadGateway(auth0_api::Error::Unexpected(
                "a list without the total that was asked for",
            )))
    }

    /// What [`Self::list_users`] would send.
    ///
    /// # Errors
    /// As [`Self::list_users`].
    pub fn explain_users(&self, query: &UserQuery) -> Result<Explanation, Error> {
        self.management()?;
        let request = self.request(query)?;
        let pages = match &request {
            Some(_) => query.slice.pages(),
            None => Vec::new(),
        };
        let request = request.unwrap_or_default();
        Ok(Explanation {
            q: request.query.map(|q| q.as_str().to_owned()),
            pages,
            sort: request.sort.map(|sort| sort.to_string()),
            fields: request.fields,
        })
    }

    /// The request behind a query, pages aside. `None` when nobody can match.
    pub(super) fn request(&self, query: &UserQuery) -> Result<Option<ListUsers>, Error> {
        let Some(q) = self.q(query)? else {
            return Ok(None);
        };
        let sort = query.sort.as_ref().map(|sort| {
            let field = Field::parse(&sort.field)
                .map_err(|error| QueryError::new("_s", error.to_string()))?;
            Ok::<_, QueryError>(Sort {
                field,
                descending: sort.descending,
            })
        });
        let mut fields = query.fields.clone();
        // Pages that are joined need it, to give each user once; it is taken out again.
        if !fields.is_empty()
            && query.slice.pages().len() > 1
            && !fields.iter().any(|field| field == USER_ID)
        {
            fields.push(USER_ID.to_owned());
        }
        Ok(Some(ListUsers {
            query: q,
            sort: sort.transpose()?,
            fields,
            ..ListUsers::default()
        }))
    }

    fn q(&self, query: &UserQuery) -> Result<Option<Option<SearchQuery>>, Error> {
        Ok(query.q(&self.scope())?)
    }
}
