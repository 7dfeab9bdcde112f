//! Slices of lists, and the walk over lists of any length.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tenant::{World, world};

fn user(number: usize, created_at: &str) -> Value {
    json!({
        "user_id": format!("auth0|{number:05}"), "email": format!("p{number}@example.org"),
        "created_at": created_at, "blocked": number.is_multiple_of(2),
        "identities": [{"connection": "staff"}],
    })
}

/// A tenant of so many people.
fn crowd(people: usize) -> World {
    let world = world(Some(json!({})));
    for number in 0..people {
        world.tenant.add(user(number, "2026-01-01T00:00:00.000Z"));
    }
    world
}

fn ids(list: &Value) -> Vec<String> {
    let id = |user: &Value| user["user_id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// The slices of a list, put together, are the list: each user once, in one order.
    #[test]
    fn slices_make_the_list(people in 0_usize..1000, first in 0_u32..60, limit in 1_u32..=1000) {
        run(async {
            let world = crowd(people);
            let mut skip = 0;
            let mut all = Vec::new();
            // The first slice may be of another length, so that skips are no multiples of limits.
            let mut length = if first == 0 { limit } else { first.min(limit) };
            while skip < 1000 {
                let taken = length.min(1000 - skip);
                let before = world.tenant.lists.load(Ordering::SeqCst);
                let (status, list) = world.get(&format!("/users?_l={taken}&_sk={skip}")).await;
                assert_eq!(status, 200, "{list}");
                let calls = world.tenant.lists.load(Ordering::SeqCst) - before;
                assert!(calls <= 10 && (taken > 100 || calls <= 2), "{calls} calls");
                let part = ids(&list);
                assert!(part.len() <= taken as usize);
                all.extend(part);
                skip += taken;
                length = limit;
            }
            let expected: Vec<String> = (0..people).map(|n| format!("auth0|{n:05}")).collect();
            assert_eq!(all, expected);
        });
    }
}

#[tokio::test]
async fn a_thousand_are_ten_calls_and_no_more() {
    let world = crowd(1500);
    let (status, list) = world.get("/users?_l=1000").await;
    assert_eq!((status.as_u16(), ids(&list).len()), (200, 1000));
    assert_eq!(world.tenant.lists.load(Ordering::SeqCst), 10);
    // A small tenant is one call, however much is asked for.
    let world = crowd(7);
    let (_, list) = world.get("/users?_l=1000").await;
    assert_eq!(ids(&list).len(), 7);
    assert_eq!(world.tenant.lists.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn somebody_created_between_two_pages_doubles_nobody() {
    let world = crowd(500);
    *world.tenant.after_list.lock().unwrap() =
        Some(|users| users.insert(0, user(90_000 + users.len(), "2026-01-01T00:00:00.000Z")));
    let (_, list) = world.get("/users?_l=400").await;
    let ids = ids(&list);
    let distinct: HashSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    // Also where the id, by which that is seen, was not asked for.
    let (_, list) = world.get("/users?_l=400&_p=email").await;
    let list = list.as_array().unwrap();
    assert!(list.iter().all(|user| user.as_object().unwrap().len() == 1));
    let emails: HashSet<String> = list.iter().map(Value::to_string).collect();
    assert_eq!(emails.len(), list.len());
}

#[tokio::test]
async fn beyond_what_auth0_serves_is_an_error_and_never_a_short_list() {
    let world = crowd(1500);
    let (status, body) = world.get("/users?_l=25&_sk=990").await;
    assert_eq!(status, 400);
    assert!(
        body["message"].as_str().unwrap().contains("/users/export"),
        "{body}"
    );
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn counts_and_explains() {
    let world = crowd(1234);
    assert_eq!(world.get("/users/count").await.1, json!(1234));
    assert_eq!(world.get("/users/count?blocked=true").await.1, json!(617));
    let (status, body) = world.get("/users/count?_l=5").await;
    assert_eq!(status, 400, "{body}");
    let before = world.tenant.lists.load(Ordering::SeqCst);
    let (_, explained) = world
        .get("/users?email=p*&_l=150&_sk=50&_s=-created_at&_p=email,name&_explain=true")
        .await;
    insta::assert_json_snapshot!(explained);
    assert_eq!(world.tenant.lists.load(Ordering::SeqCst), before);
}

async fn export(world: &World, path: &str) -> Vec<String> {
    let (status, headers, body) = world.send("GET", path, &[], b"").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let id = |line: &str| {
        let user: Value = serde_json::from_str(line).unwrap();
        user["user_id"].as_str().unwrap().to_owned()
    };
    body.lines().map(id).collect()
}

#[tokio::test]
async fn an_export_gives_everybody_once_however_many_share_an_instant() {
    let world = world(Some(json!({})));
    // Runs of one instant of every awkward length around the page of 100.
    let (mut number, mut expected) = (0, HashSet::new());
    for (second, length) in [1, 99, 100, 101, 1, 250, 2500, 3, 99, 100, 200, 1]
        .into_iter()
        .enumerate()
    {
        for _ in 0..length {
            world
                .tenant
                .add(user(number, &format!("2026-01-01T00:00:{second:02}.000Z")));
            expected.insert(format!("auth0|{number:05}"));
            number += 1;
        }
    }
    let all = export(&world, "/users/export").await;
    assert_eq!(all.len(), number);
    assert_eq!(all.into_iter().collect::<HashSet<_>>(), expected);
    let blocked = export(&world, "/users/export?blocked=true&_p=email").await;
    assert_eq!(blocked.len(), number.div_ceil(2));
    assert_eq!(export(&world, "/users/export?email=nobody").await.len(), 0);
}

/// What would be too long only in the middle of the walk is refused before it begins.
#[tokio::test]
async fn an_export_that_could_not_go_on_does_not_begin() {
    let world = world(Some(json!({})));
    let mut refused = 0;
    for count in 140..170 {
        let many: Vec<String> = (0..count).map(|n| format!("u{n:05}@big.example")).collect();
        let filter = json!({"email": {"$in": many}}).to_string();
        let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let list = format!("/users?_explain=true&_q={filter}");
        let (listed, _) = world.get(&list).await;
        let (status, body) = world.get(&format!("/users/export?_q={filter}")).await;
        if status == 400 {
            let message = body["message"].as_str().unwrap();
            assert!(message.contains("the query cannot be sent"), "{body}");
            refused += u32::from(listed == 200);
        } else {
            assert_eq!((listed.as_u16(), status.as_u16()), (200, 200), "{body}");
        }
    }
    assert!((2..20).contains(&refused), "{refused}");
}

#[tokio::test]
async fn an_export_misses_nobody_when_somebody_is_deleted_meanwhile() {
    let world = world(Some(json!({})));
    for number in 0..950 {
        let at = format!("2026-01-01T00:{:02}:{:02}.000Z", number / 60, number % 60);
        world.tenant.add(user(number, &at));
    }
    // With each page one of those already given goes.
    *world.tenant.after_list.lock().unwrap() = Some(|users| {
        users.remove(0);
    });
    let all = export(&world, "/users/export").await;
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 950);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_export_is_the_list(seconds in proptest::collection::vec(0_u8..6, 0..700)) {
        run(async {
            let world = world(Some(json!({})));
            for (number, second) in seconds.iter().enumerate() {
                world.tenant.add(user(number, &format!("2026-01-01T00:00:0{second}.000Z")));
            }
            let mut all = export(&world, "/users/export").await;
            all.sort();
            let expected: Vec<String> = (0..seconds.len()).map(|n| format!("auth0|{n:05}")).collect();
            assert_eq!(all, expected);
        });
    }
}
