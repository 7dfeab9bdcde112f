//! `/api/v2/users` and `/api/v2/users-by-email`.

mod attributes;
mod create;
mod link;
mod list;
mod read;
mod remove;
mod update;

pub(crate) use self::attributes::forbidden_metadata;
pub(in crate::management) use self::attributes::{other, text};
pub(crate) use self::create::create;
pub(crate) use self::link::{link, unlink};
pub(crate) use self::list::list;
pub(crate) use self::read::{by_email, by_id};
pub(crate) use self::remove::remove;
pub(crate) use self::update::update;

use super::{Call, Problem};

/// The `user_id` of the path, which has a provider in front of a `|`.
pub(in crate::management) fn path_id<'a>(call: &'a Call<'_>) -> Result<&'a str, Problem> {
    let id = call.request.id.as_str();
    match id.split_once('|') {
        Some((provider, rest)) if !provider.is_empty() && !rest.is_empty() => Ok(id),
        _ => Err(Problem::path(
            &format!("String does not match pattern ^.+\\|.+$: {id}"),
            "id",
            "The user_id of the user to retrieve",
        )),
    }
}
