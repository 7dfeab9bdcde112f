//! Rate limits of the Management API and of the whole tenant.

use std::time::Duration;

use dev_tenant::{Bucket, DevTenant, Fault, FaultKind, RateLimits, TenantSettings};

use crate::support::*;

async fn limited(limits: RateLimits) -> DevTenant {
    tenant_with(TenantSettings {
        rate_limits: Some(limits),
        ..TenantSettings::default()
    })
    .await
}

#[tokio::test]
async fn the_free_plan_is_two_a_second_and_fills_smoothly() {
    let tenant = limited(RateLimits::default()).await;
    let api = Management::of(&tenant).await;
    let first = api.get("/users").await;
    assert_eq!(
        (
            first.header("x-ratelimit-limit"),
            first.header("x-ratelimit-remaining")
        ),
        ("2", "1")
    );
    let mut refused = first;
    for _ in 0..20 {
        refused = api.get("/users").await;
        if refused.status == 429 {
            break;
        }
    }
    insta::assert_snapshot!(refused.line(), @r#"429 {"error":"Too Many Requests","errorCode":"too_many_requests","message":"Global limit has been reached","statusCode":429}"#);
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let reset: i64 = refused.header("x-ratelimit-reset").parse().unwrap();
    assert!((0..=3).contains(&(reset - tenant.now().unix_timestamp())));
    assert!(!refused.headers.contains_key("retry-after"));
    tenant.advance_clock(Duration::from_millis(500));
    assert_eq!(api.get("/users").await.status, 200);
}

#[tokio::test]
async fn one_bucket_can_serve_both_apis() {
    let tenant = limited(RateLimits {
        global: Some(Bucket {
            burst: 4,
            per_minute: 1,
        }),
        management: Bucket {
            burst: 100,
            per_minute: 6000,
        },
        retry_after: true,
        ..RateLimits::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    assert_eq!(api.get("/users").await.header("x-ratelimit-remaining"), "2");
    for _ in 0..3 {
        get(&tenant, "/.well-known/jwks.json").await;
    }
    assert_eq!(refresh(&tenant, "nothing").await.status, 403);
    assert_eq!(api.get("/users").await.status, 200);
    let oauth = refresh(&tenant, "nothing").await;
    assert_eq!(
        (oauth.status.as_u16(), oauth.json()["error"].as_str()),
        (429, Some("too_many_requests"))
    );
    let managed = api.get("/users").await;
    assert_eq!(managed.json()["errorCode"], "too_many_requests");
    let wait: u64 = managed.header("retry-after").parse().unwrap();
    tenant.advance_clock(Duration::from_secs(wait));
    assert_eq!(api.get("/users").await.status, 200);
}

#[tokio::test]
async fn faults_hit_the_management_api_in_its_own_shape() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let limit = FaultKind::RateLimited {
        retry_after: Some(7),
        reset_in: 7,
    };
    tenant.inject(Fault::on("/api/v2/users*", limit).method("GET").times(1));
    let answer = api.get(&user_path(MIA)).await;
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.json()["statusCode"], 429);
    assert_eq!(api.get(&user_path(MIA)).await.status, 200);
}
