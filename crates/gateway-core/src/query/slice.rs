//! Which of Auth0's pages hold a slice of a list.

use auth0_api::management::{MAX_PAGE_SIZE, MAX_SEARCHABLE};

/// A slice of a list: skip some, take some. Ends within what Auth0 can page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    skip: u32,
    limit: u32,
}

/// A page to ask Auth0 for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its index, from 0.
    pub page: u32,
    /// Users in it.
    pub per_page: u32,
}

impl Slice {
    /// A slice; `None` when Auth0 cannot page that deep (`skip + limit` above 1000), or `limit` is 0.
    #[must_use]
    pub fn new(skip: u32, limit: u32) -> Option<Self> {
        let end = skip.checked_add(limit)?;
        (limit > 0 && end <= MAX_SEARCHABLE).then_some(Self { skip, limit })
    }

    /// Users to leave out at the start.
    #[must_use]
    pub fn skip(&self) -> u32 {
        self.skip
    }

    /// Most users.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The pages that hold it, in order.
    #[must_use]
    pub fn pages(&self) -> Vec<Page> {
        let Self { skip, limit } = *self;
        let last_page_end = (skip / limit).saturating_add(2).saturating_mul(limit);
        let per_page = if limit > MAX_PAGE_SIZE {
            MAX_PAGE_SIZE
        } else if skip.is_multiple_of(limit) || last_page_end <= MAX_SEARCHABLE {
            limit
        } else {
            // The page behind would reach over the end of what is served; this size never does.
            MAX_PAGE_SIZE
        };
        let first = skip / per_page;
        let last = (skip + limit - 1) / per_page;
        (first..=last).map(|page| Page { page, per_page }).collect()
    }

    /// How many users of the first page come before the slice.
    #[must_use]
    pub fn offset(&self) -> usize {
        let first = self.pages().first().copied();
        let before = first.map_or(0, |page| self.skip - page.page * page.per_page);
        usize::try_from(before).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(skip: u32, limit: u32) -> Vec<(u32, u32)> {
        let slice = Slice::new(skip, limit).unwrap();
        slice.pages().iter().map(|p| (p.page, p.per_page)).collect()
    }

    #[test]
    fn asks_for_as_little_as_auth0_allows() {
        assert_eq!(pages(0, 25), [(0, 25)]);
        assert_eq!(pages(50, 25), [(2, 25)]);
        assert_eq!(pages(30, 25), [(1, 25), (2, 25)]);
        assert_eq!(pages(930, 60), [(9, 100)]);
        assert_eq!(pages(0, 1000).len(), 10);
        assert_eq!(pages(50, 200), [(0, 100), (1, 100), (2, 100)]);
        assert_eq!(Slice::new(1, 1000), None);
        assert_eq!(Slice::new(u32::MAX, 1), None);
        assert_eq!(Slice::new(0, 0), None);
    }

    proptest::proptest! {
        #[test]
        fn pages_cover_the_slice_and_stay_within_the_limits(skip in 0_u32..1000, limit in 1_u32..=1000) {
            proptest::prop_assume!(skip + limit <= 1000);
            let slice = Slice::new(skip, limit).unwrap();
            let pages = slice.pages();
            proptest::prop_assert!(pages.len() <= 10);
            proptest::prop_assert!(limit > 100 || pages.len() <= 2);
            let (first, last) = (pages[0], pages[pages.len() - 1]);
            proptest::prop_assert!(first.page * first.per_page <= skip);
            proptest::prop_assert!((last.page + 1) * last.per_page >= skip + limit);
            proptest::prop_assert!((last.page + 1) * last.per_page <= 1000);
            proptest::prop_assert!(pages.iter().all(|p| (1..=100).contains(&p.per_page)));
            proptest::prop_assert!(slice.offset() < first.per_page as usize);
        }
    }
}
