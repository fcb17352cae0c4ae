//! The lease when the store is slow or silent: who holds it knows in time when it does not any more.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::repository::lease::{self, Guard};
use qdrant_backup::wire::store::{DirStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use testkit::faulty::{Twist, twisted};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const LIFE: Duration = Duration::from_secs(120);
const BEGAN: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

/// A store in which the nth write of the lease is twisted, counted from 0, and a clock that goes with the test's time.
async fn store_and_clock(twist: impl Fn(usize) -> Twist + Send + Sync + 'static) -> (TempDir, Arc<dyn Store>, Clock) {
    let dir = tempfile::tempdir().unwrap();
    let inner: Arc<dyn Store> = Arc::new(DirStore::open(dir.path()).await.unwrap());
    let writes = AtomicUsize::new(0);
    let store = twisted(&inner, move |_| twist(writes.fetch_add(1, Ordering::SeqCst)));
    let start = Instant::now();
    (dir, store, Clock::new(move || BEGAN + start.elapsed()))
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_lost_before_anybody_else_can_take_it() {
    let (_dir, store, clock) = store_and_clock(|write| if write == 0 { Twist::None } else { Twist::Hangs }).await;
    let lease = lease::acquire(store, &clock, "x", LIFE).await.unwrap();
    let told = timeout(LIFE * 10, lease.lost().cancelled()).await;
    assert!(told.is_ok(), "it waits for the store for ever");
    assert!(clock.now() < BEGAN + LIFE, "others may have begun: {}", clock.now());
    assert!(clock.now() > BEGAN + LIFE / 2, "given up too early: {}", clock.now());
    assert_eq!(lease.confirm().await.unwrap_err().code(), Code::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn one_renewal_that_hangs_is_tried_again() {
    let (_dir, store, clock) = store_and_clock(|write| if write == 1 { Twist::Hangs } else { Twist::None }).await;
    let lease = lease::acquire(store, &clock, "x", LIFE).await.unwrap();
    assert!(timeout(LIFE * 10, lease.lost().cancelled()).await.is_err(), "lost");
    lease.confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_and_given_back_although_the_answers_to_its_renewals_are_lost() {
    let (dir, store, clock) = store_and_clock(|write| if write == 0 { Twist::None } else { Twist::AnswerLost }).await;
    let lease = lease::acquire(store, &clock, "x", LIFE).await.unwrap();
    assert!(timeout(LIFE * 10, lease.lost().cancelled()).await.is_err(), "lost");
    lease.release().await.unwrap();
    assert!(!dir.path().join("lock.json").exists());
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_first_write_took_long_is_fresh_when_it_is_held() {
    let (_dir, store, clock) = store_and_clock(|write| match write {
        0 => Twist::After(Box::pin(tokio::time::sleep(LIFE * 2))),
        _ => Twist::None,
    })
    .await;
    let lease = lease::acquire(store.clone(), &clock, "x", LIFE).await.unwrap();
    let record = lease::holder(&*store, &clock).await.unwrap().unwrap();
    assert!(record.expires_at >= clock.now() + LIFE / 2, "{record:?}");
    lease.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restore_goes_on_when_the_store_has_no_room_any_more_for_its_lease() {
    for (code, goes_on) in [
        (Code::StoreFull, true),
        (Code::StoreForbidden, true),
        (Code::StoreUnreachable, false),
    ] {
        let (dir, store, clock) = store_and_clock(move |write| match write {
            0 => Twist::None,
            _ => Twist::Refused(code),
        })
        .await;
        let guard = Guard::take(store, &clock, "x", LIFE, false).await.unwrap();
        let token = guard.token(&CancellationToken::new());
        let cancelled = timeout(LIFE * 10, token.cancelled()).await.is_ok();
        assert_eq!(cancelled, !goes_on, "{code}");
        assert_eq!(guard.end().await.is_some(), goes_on, "{code}");
        assert!(!dir.path().join("lock.json").exists(), "it is given back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_stops_when_somebody_else_has_its_lease() {
    let (dir, store, clock) = store_and_clock(|_| Twist::None).await;
    let guard = Guard::take(store, &clock, "x", LIFE, false).await.unwrap();
    let token = guard.token(&CancellationToken::new());
    std::fs::remove_file(dir.path().join("lock.json")).unwrap();
    assert!(timeout(LIFE, token.cancelled()).await.is_ok());
    assert_eq!(guard.confirm_not_lost().unwrap_err().code(), Code::LeaseLost);
}
