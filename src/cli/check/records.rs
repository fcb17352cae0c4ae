//! What lies in the store and cannot be read. No backup fails for it, so nothing of it is a failure.

use super::{Checks, State, ask_store};
use crate::base::error::{Error, Result};
use crate::repository::{catalog, intents, jobs};
use crate::wire::store::Store;
use std::time::Duration;

/// Of more only the number is told.
const SHOWN: usize = 10;

pub(super) async fn check(checks: &mut Checks, url: &str, store: &dyn Store, limit: Duration) {
    let intents = ask_store(url, limit, intents::unreadable(store)).await;
    tell(checks, "intents", intents);
    let beside = catalog::unreadable(store, catalog::LISTED.into());
    let records = ask_store(url, limit, async {
        let mut records = jobs::unreadable(store).await?;
        records.extend(beside.await?);
        Ok(records)
    });
    tell(checks, "records", records.await);
}

fn tell(checks: &mut Checks, check: &'static str, unreadable: Result<Vec<Error>>) {
    let unreadable = unreadable.unwrap_or_else(|error| vec![error]);
    unreadable
        .iter()
        .take(SHOWN)
        .for_each(|error| checks.warn(check, error));
    if unreadable.len() > SHOWN {
        let more = format!("{} more cannot be used", unreadable.len() - SHOWN);
        checks.add(
            check,
            State::Warn,
            more,
            Some("mend the others, then check again".to_owned()),
        );
    }
}
