//! The governor against a simulated tenant, in simulated time.

use std::sync::Mutex;

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::queue::SLOW_START;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A token bucket as Auth0 keeps it.
#[derive(Debug)]
struct Tenant {
    limit: u32,
    per_second: f64,
    /// Does `x-ratelimit-reset` round up?
    rounds_up: bool,
    /// Does it send the headers?
    tells: bool,
    begun: Instant,
    level: Mutex<(f64, Instant)>,
    accepted: Mutex<u32>,
    refused: Mutex<u32>,
}

impl Tenant {
    fn new(limit: u32, per_second: f64) -> Arc<Self> {
        Arc::new(Self::plain(limit, per_second, 300))
    }

    /// `phase` is where in a second of Auth0's clock it begins.
    fn plain(limit: u32, per_second: f64, phase: u64) -> Self {
        let begun = Instant::now() - millis(phase);
        Self {
            limit,
            per_second,
            rounds_up: true,
            tells: true,
            begun,
            level: Mutex::new((f64::from(limit), Instant::now())),
            accepted: Mutex::new(0),
            refused: Mutex::new(0),
        }
    }

    /// Takes a token, or not, and says how things stand.
    fn take(&self) -> (bool, Option<Rates>) {
        let now = Instant::now();
        let mut level = self.level.lock().unwrap();
        let gained = (now - level.1).as_secs_f64() * self.per_second;
        *level = ((level.0 + gained).min(f64::from(self.limit)), now);
        let accepted = level.0 >= 1.0;
        if accepted {
            level.0 -= 1.0;
        }
        *if accepted {
            &self.accepted
        } else {
            &self.refused
        }
        .lock()
        .unwrap() += 1;
        let full =
            (now - self.begun).as_secs_f64() + (f64::from(self.limit) - level.0) / self.per_second;
        let full = if self.rounds_up {
            full.ceil()
        } else {
            full.floor()
        };
        let rates = Rates {
            limit: self.limit,
            remaining: whole(level.0),
            reset: Some(1_000 + i64::from(whole(full))),
            date: Some(1_000 + i64::try_from((now - self.begun).as_secs()).unwrap()),
        };
        (accepted, self.tells.then_some(rates))
    }

    fn refused(&self) -> u32 {
        *self.refused.lock().unwrap()
    }
}

/// Makes a call as the management adapter does; the result is when it was answered.
async fn make(
    governor: &Governor,
    tenant: &Tenant,
    lane: Lane,
    latency: Duration,
    deadline: Instant,
) -> Result<Instant, Denied> {
    let mut place = governor.place(lane);
    loop {
        let mut permit = place.admit(Group::UsersRead, deadline).await?;
        permit.sent();
        sleep(latency / 2).await;
        let (accepted, rates) = tenant.take();
        sleep(latency / 2).await;
        if accepted {
            permit.answered(rates);
            return Ok(Instant::now());
        }
        permit.limited(&mut place, None, rates);
    }
}

fn assert_nobody_waits(governor: &Governor) {
    let snapshot = governor.snapshot();
    assert_eq!(snapshot.management.waiting, [0; 4]);
    assert_eq!(snapshot.authentication.waiting, [0; 4]);
    let mut state = governor.lock();
    for id in [None, Some(2), Some(10), Some(50)] {
        assert_eq!(state.gate(id).under_way, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_thirty_at_two_a_second_passes_in_order_of_lane() {
    for (rounds_up, phase) in [
        (true, 0),
        (true, 300),
        (true, 999),
        (false, 0),
        (false, 700),
    ] {
        let governor = Governor::new();
        let tenant = Arc::new(Tenant {
            rounds_up,
            ..Tenant::plain(2, 2.0, phase)
        });
        let begun = Instant::now();
        let deadline = begun + 20 * SECOND;
        let mut calls = JoinSet::new();
        // The least urgent come first.
        for lane in [Lane::Import, Lane::Admin, Lane::Login] {
            for _ in 0..10 {
                let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
                calls.spawn(async move {
                    let done = make(&governor, &tenant, lane, millis(20), deadline).await;
                    (lane, done.expect("the wait fits"))
                });
            }
            tokio::task::yield_now().await;
        }
        let mut done = calls.join_all().await;
        done.sort_by_key(|(_, at)| *at);
        // Those of the first moment, when nothing was known.
        let lanes: Vec<Lane> = done.iter().skip(2).map(|(lane, _)| *lane).collect();
        assert!(lanes.is_sorted(), "{lanes:?}");
        let took = begun.elapsed();
        assert!(took < millis(16_500), "{took:?}");
        let refused = tenant.refused();
        assert!(refused <= SLOW_START + 4, "{refused} refused");
        assert_nobody_waits(&governor);
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_hears_the_true_wait() {
    let governor = Governor::new();
    let tenant = Tenant::new(2, 2.0);
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
        calls.spawn(async move {
            make(
                &governor,
                &tenant,
                Lane::Admin,
                millis(20),
                begun + 5 * SECOND,
            )
            .await
        });
    }
    let results = calls.join_all().await;
    let served = results.iter().filter(|result| result.is_ok()).count();
    // Twelve tokens come in that time. While the pace is being learned, from headers that know whole
    // seconds only, one or two are left over.
    assert!((10..=12).contains(&served), "{served}");
    for (nth, denied) in results.iter().filter_map(|r| r.err()).enumerate() {
        let Denied::Limited(wait) = denied else {
            panic!("{denied:?}");
        };
        // Those who came before leave the queue at the same moment.
        assert!(
            wait > Duration::ZERO && wait < 10 * SECOND,
            "{nth}: {wait:?}"
        );
    }
    assert_nobody_waits(&governor);
}

/// A governor that knows a bucket of two, two a second, and found it empty just now.
async fn emptied() -> (Governor, Arc<Tenant>) {
    let (governor, tenant) = (Governor::new(), Tenant::new(2, 2.0));
    let deadline = Instant::now() + 60 * SECOND;
    for _ in 0..40 {
        make(&governor, &tenant, Lane::Login, millis(2), deadline)
            .await
            .unwrap();
    }
    (governor, tenant)
}

#[tokio::test(start_paused = true)]
async fn nobody_queues_for_nothing() {
    let (governor, tenant) = emptied().await;
    let mut others = JoinSet::new();
    for _ in 0..10 {
        let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
        let deadline = Instant::now() + 60 * SECOND;
        others
            .spawn(async move { make(&governor, &tenant, Lane::Admin, millis(2), deadline).await });
    }
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let late = make(
        &governor,
        &tenant,
        Lane::Admin,
        millis(2),
        begun + 2 * SECOND,
    )
    .await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let Err(Denied::Limited(wait)) = late else {
        panic!("{late:?}");
    };
    assert!((millis(5_000)..=millis(6_000)).contains(&wait), "{wait:?}");
    // Ten are ahead of an import, and none of a sign-in.
    make(
        &governor,
        &tenant,
        Lane::Login,
        millis(2),
        begun + 2 * SECOND,
    )
    .await
    .unwrap();
    for result in others.join_all().await {
        result.unwrap();
    }
    assert_nobody_waits(&governor);
}

#[tokio::test(start_paused = true)]
async fn ten_parallel_pages_pass_at_once() {
    let (governor, tenant) = (Governor::new(), Tenant::new(10, 1.0));
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
        calls.spawn(async move {
            make(
                &governor,
                &tenant,
                Lane::Admin,
                millis(100),
                begun + 20 * SECOND,
            )
            .await
        });
    }
    calls.join_all().await;
    assert_eq!(begun.elapsed(), millis(100));
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_and_is_told() {
    let governor = Governor::new();
    let mut place = governor.place(Lane::Admin);
    let begun = Instant::now();
    let deadline = begun + 20 * SECOND;
    let mut permit = place.admit(Group::UsersRead, deadline).await.unwrap();
    permit.sent();
    permit.limited(&mut place, Some(7 * SECOND), None);

    let mut other = governor.place(Lane::Login);
    let denied = other.admit(Group::UsersRead, begun + 3 * SECOND).await;
    assert_eq!(denied.err(), Some(Denied::Limited(7 * SECOND)));
    assert_eq!(begun.elapsed(), Duration::ZERO);

    place.admit(Group::UsersRead, deadline).await.unwrap();
    let waited = begun.elapsed();
    assert!((7 * SECOND..=millis(7_510)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_headers_backs_off_further_each_time() {
    let governor = Governor::new();
    let mut place = governor.place(Lane::Admin);
    let deadline = Instant::now() + 100 * SECOND;
    for seconds in [1, 2, 4, 8] {
        let mut permit = place.admit(Group::Other, deadline).await.unwrap();
        permit.sent();
        permit.limited(&mut place, None, None);
        let before = Instant::now();
        drop(place.admit(Group::Other, deadline).await.unwrap());
        let waited = before.elapsed();
        let pause = seconds * SECOND;
        assert!(waited >= pause && waited <= pause + MAX_JITTER + millis(2));
    }
    assert_nobody_waits(&governor);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_makes_room() {
    let (governor, tenant) = emptied().await;
    let far = Instant::now() + 60 * SECOND;
    let gone = {
        let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
        tokio::spawn(async move { make(&governor, &tenant, Lane::Login, SECOND, far).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(governor.snapshot().management.waiting, [1, 0, 0, 0]);
    gone.abort();
    gone.await.unwrap_err();
    assert_eq!(governor.snapshot().management.waiting, [0; 4]);

    // A turn that is not used gives its token back; one that was used for a lost call does not.
    sleep(10 * SECOND).await;
    let level = |governor: &Governor| governor.snapshot().management.remaining.unwrap();
    assert_eq!(level(&governor), 2);
    let mut place = governor.place(Lane::Login);
    drop(place.admit(Group::UsersRead, far).await.unwrap());
    assert_eq!(level(&governor), 2);
    let mut permit = place.admit(Group::UsersRead, far).await.unwrap();
    permit.sent();
    drop(permit);
    assert_eq!(level(&governor), 1);
    assert_nobody_waits(&governor);
}

#[tokio::test(start_paused = true)]
async fn later_lanes_leave_a_reserve() {
    let (governor, tenant) = (Governor::new(), Tenant::new(50, 0.1));
    let soon = Instant::now() + SECOND;
    let mut passed = Vec::new();
    for lane in [Lane::Import, Lane::Admin, Lane::Refresh] {
        let mut count = 0;
        while make(&governor, &tenant, lane, millis(1), soon)
            .await
            .is_ok()
        {
            count += 1;
        }
        passed.push(count);
    }
    assert_eq!(passed, [40, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn work_that_can_wait_yields_to_sign_ins_at_the_other_api() {
    let governor = Governor::new();
    let far = Instant::now() + 60 * SECOND;
    let order = Arc::<Mutex<Vec<&str>>>::default();
    let mut tasks = JoinSet::new();
    for (lane, name) in [
        (Lane::Refresh, "refresh"),
        (Lane::Login, "login"),
        (Lane::Login, "login"),
    ] {
        let (governor, order) = (governor.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            let mut place = governor.place(lane);
            place.release(Some(SECOND), None, far).await.unwrap();
            order.lock().unwrap().push(name);
        });
    }
    tokio::task::yield_now().await;
    for (lane, name) in [(Lane::Import, "import"), (Lane::Admin, "admin")] {
        let (governor, order) = (governor.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            let mut place = governor.place(lane);
            let permit = place.admit(Group::UsersRead, far).await.unwrap();
            order.lock().unwrap().push(name);
            sleep(SECOND).await;
            permit.answered(None);
        });
        tokio::task::yield_now().await;
    }
    // A management call in an earlier lane does not wait with them.
    let mut place = governor.place(Lane::Login);
    drop(place.admit(Group::UsersRead, far).await.unwrap());
    assert!(order.lock().unwrap().is_empty());
    assert_eq!(governor.snapshot().authentication.waiting, [2, 1, 0, 0]);
    assert_eq!(governor.snapshot().management.waiting, [0, 0, 1, 1]);

    tasks.join_all().await;
    let order = order.lock().unwrap().clone();
    assert_eq!(order[3..], ["admin", "import"], "{order:?}");
    assert_nobody_waits(&governor);
}

#[tokio::test(start_paused = true)]
async fn limited_sign_ins_are_sent_again_one_after_another() {
    let governor = Governor::new();
    let begun = Instant::now();
    // A bucket of ten a second.
    let rates = Rates {
        limit: 100,
        remaining: 0,
        reset: Some(1_010),
        date: Some(1_000),
    };
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let governor = governor.clone();
        tasks.spawn(async move {
            let mut place = governor.place(Lane::Login);
            let deadline = begun + 10 * SECOND;
            place.release(None, Some(rates), deadline).await.unwrap();
            begun.elapsed()
        });
    }
    let mut at = tasks.join_all().await;
    at.sort();
    assert!(at[0] >= millis(100) && at[0] < millis(120), "{at:?}");
    assert!(
        at.windows(2).all(|pair| pair[1] - pair[0] >= millis(90)),
        "{at:?}"
    );
    assert!(at[4] < SECOND, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reset_an_hour_away_is_not_waited_for() {
    let governor = Governor::new();
    let rates = Rates {
        limit: 100,
        remaining: 0,
        reset: Some(1_000 + 4_300),
        date: Some(1_000),
    };
    let begun = Instant::now();
    let mut place = governor.place(Lane::Login);
    let denied = place.release(None, Some(rates), begun + 10 * SECOND).await;
    assert_eq!(denied, Err(Denied::Limited(43 * SECOND)));
    // Somebody else's limit is not touched by that.
    let mut other = governor.place(Lane::Login);
    other
        .release(Some(SECOND), None, begun + 10 * SECOND)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn absurd_waits_do_not_overflow() {
    let governor = Governor::new();
    let now = Instant::now();
    let mut place = governor.place(Lane::Login);
    let absurd = Some(Duration::from_secs(u64::MAX));
    let rates = Some(Rates {
        limit: u32::MAX,
        remaining: 0,
        reset: Some(i64::MAX),
        date: Some(i64::MIN),
    });
    place.release(absurd, rates, now).await.unwrap_err();
    let permit = place.admit(Group::Other, now + SECOND).await.unwrap();
    permit.limited(&mut place, absurd, rates);
    assert!(place.admit(Group::Other, now + SECOND).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn groups_with_buckets_of_their_own_are_kept_apart() {
    let governor = Governor::new();
    let (reads, writes) = (Tenant::new(40, 8.0), Tenant::new(2, 0.1));
    let far = Instant::now() + 600 * SECOND;
    let send = async |group, tenant: &Tenant| {
        let mut place = governor.place(Lane::Admin);
        let mut permit = place.admit(group, far).await.unwrap();
        permit.sent();
        let (accepted, rates) = tenant.take();
        permit.answered(rates);
        accepted
    };
    assert!(send(Group::UsersRead, &reads).await);
    assert!(send(Group::UsersWrite, &writes).await);
    assert!(send(Group::UsersWrite, &writes).await);
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(send(Group::UsersRead, &reads).await);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(governor.snapshot().management.limit, Some(2));
}

#[derive(Clone, Debug)]
struct Scenario {
    limit: u32,
    per_second: f64,
    rounds_up: bool,
    tells: bool,
    phase: u64,
    /// Lane, arrival and latency in milliseconds.
    calls: Vec<(Lane, u64, u64)>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let call = (lane, 0_u64..3_000, 1_u64..400);
    (
        prop::sample::select(vec![(2, 2.0), (10, 2.0), (10, 2.5), (20, 3.3), (50, 16.0)]),
        any::<bool>(),
        prop::bool::weighted(0.9),
        0_u64..1_000,
        prop::collection::vec(call, 1..120),
    )
        .prop_map(
            |((limit, per_second), rounds_up, tells, phase, calls)| Scenario {
                limit,
                per_second,
                rounds_up,
                tells,
                phase,
                calls,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Everybody is served in the end, in about the time that the limit takes, and Auth0 hardly ever
    /// has to refuse.
    #[test]
    fn stays_within_the_limit_and_starves_nobody(scenario in scenario()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let governor = Governor::new();
            let tenant = Arc::new(Tenant {
                rounds_up: scenario.rounds_up,
                tells: scenario.tells,
                ..Tenant::plain(scenario.limit, scenario.per_second, scenario.phase)
            });
            let begun = Instant::now();
            let count = u32::try_from(scenario.calls.len()).unwrap();
            let mut calls = JoinSet::new();
            for (lane, arrival, latency) in scenario.calls.clone() {
                let (governor, tenant) = (governor.clone(), Arc::clone(&tenant));
                calls.spawn(async move {
                    sleep(millis(arrival)).await;
                    let far = begun + 3_600 * SECOND;
                    make(&governor, &tenant, lane, millis(latency), far).await.unwrap();
                });
            }
            calls.join_all().await;
            assert_nobody_waits(&governor);
            if scenario.tells {
                let least = f64::from(count.saturating_sub(scenario.limit)) / scenario.per_second;
                let took = begun.elapsed().as_secs_f64();
                let refused = tenant.refused();
                assert!(took <= least * 1.5 + 8.0, "took {took} s in place of {least} s");
                assert!(refused <= SLOW_START + count / 10, "{refused} of {count} refused");
            }
        });
    }
}
