//! Which host a request is for (RFC 9112, section 3.2).

use http::{Request, Version};

use crate::world::{World, world};

async fn status(world: &World, target: &str, version: Version, hosts: &[&str]) -> u16 {
    let mut request = Request::get(target).version(version);
    for host in hosts {
        request = request.header("host", host.as_bytes());
    }
    world.ask(request, "").await.status.as_u16()
}

#[tokio::test]
async fn a_request_is_for_one_host() {
    let world = world();
    for target in ["/-/healthz", "/users/active", "/authorize"] {
        let good = status(&world, target, Version::HTTP_11, &["www.example.org"]).await;
        assert!(good < 400, "{target}");
        for hosts in [
            &[][..],
            &["a.example", "b.example"],
            &["a.example", "a.example"],
            &["a.example, b.example"],
            &["a.example,b.example"],
            &[""],
            &[":80"],
            &["a "],
            &["u@a.example"],
            &["a.example/x"],
            &["a.example:x"],
            &["[::1"],
            &["ÿ.example"],
        ] {
            let said = status(&world, target, Version::HTTP_11, hosts).await;
            assert_eq!(said, 400, "{target} {hosts:?}");
        }
        for host in [
            "a.example:8443",
            "127.0.0.1:80",
            "[::1]:80",
            "[2001:db8::1]",
            "my_service.default.svc",
            "LOCALHOST",
            "a.example.",
            "a.example:",
        ] {
            let said = status(&world, target, Version::HTTP_11, &[host]).await;
            assert_eq!(said, good, "{target} {host:?}");
        }
        assert_eq!(status(&world, target, Version::HTTP_10, &[]).await, good);
        let absolute = format!("https://www.example.org{target}");
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(status(&world, &absolute, version, &[]).await, good);
        }
        let person = format!("https://u@www.example.org{target}");
        assert_eq!(status(&world, &person, Version::HTTP_2, &[]).await, 400);
    }
}

#[tokio::test]
async fn the_host_of_the_target_counts_where_it_has_one() {
    let world = world();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let request = Request::get("http://target.example:8443/logout").version(version);
        let request = request.header("host", "other.example");
        let answer = world.ask(request, "").await;
        let location = answer.header("location");
        assert!(
            location.ends_with("returnTo=https%3A%2F%2Ftarget.example%3A8443%2F"),
            "{location}"
        );
    }
}
