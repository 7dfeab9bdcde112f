//! `_q` and `acl_rows`: any text is refused, or becomes a `q` that an independent parser can read.

#![no_main]

use gateway_core::query::{Route, Scope, UserQuery};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let pairs = [("_q", text)];
    for acl in [None, Some(text)] {
        let Ok(query) = UserQuery::parse(Route::List, pairs, acl, None) else {
            continue;
        };
        let scope = Scope::Connections(vec!["staff".to_owned()]);
        if let Ok(Some(Some(q))) = query.q(&scope) {
            dev_tenant::search::parse(q.as_str()).expect("a q that cannot be read");
            assert!(q.as_str().ends_with("(identities.connection:\"staff\")"), "{}", q.as_str());
        }
    }
});
