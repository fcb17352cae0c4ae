//! The bytes of a collection on their way to Qdrant, as a whole or by its shards.

use super::execute::{Reached, Restoring, Unrestored, is_absent};
use super::plan::RestorePlan;
use super::step::From;
use super::turns::Place;
use super::{RestoreStep, Via, shards, uploaded};
use crate::base::error::{Code, Error, Result};
use crate::base::hash::parse_sha256;
use crate::base::snapshot::split::{self, Part};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::progress::Phase;
use crate::ops::run::{Run, stopped};
use crate::repository::blobs::{self, BlobSource, ShardSource};
use crate::repository::names::ArtifactKind;
use crate::repository::sharding::Creation;
use crate::wire::qdrant::{Qdrant, SnapshotOf};
use crate::wire::store::Source;
use crate::wire::transfer::{self, Expected};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a signed URL is good for: it is checked when Qdrant begins to read.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// Gets the bytes to Qdrant, and Qdrant to restore them: of the whole collection, or of several of its shards at a time. The answer is
/// how, and what the reader should know.
pub(super) async fn transfer_all(
    of: Restoring<'_>,
    at: usize,
    step: &RestoreStep,
) -> Result<(Via, Vec<String>), Unrestored> {
    let Restoring {
        ctx, plan, run, turns, ..
    } = of;
    let Some(creation) = &step.creation else {
        let way = Way::new(plan.via, step.bytes);
        for from in &step.from {
            let place = Place {
                collection: at,
                shard: None,
            };
            let turn = run.cancel.run_until_cancelled(turns.take(place, None)).await;
            let _turn = turn.ok_or_else(|| Unrestored::untouched(stopped()))?;
            transfer_one(Transfer::new(of, step, &ctx.qdrant, from), &way).await?;
        }
        return Ok(way.end());
    };
    let shards = run.unless_cancelled(divided(ctx, step, creation)).await;
    let shards = shards.map_err(Unrestored::untouched)?;
    if step.overwrites.is_none() {
        let created = run.unless_cancelled(shards::create(&ctx.qdrant, step, creation)).await;
        created.map_err(Unrestored::begun)?;
    }
    let replicas = shards::replicas(&ctx.qdrant, &plan.nodes, &step.target);
    let replicas = run.unless_cancelled(replicas).await.map_err(Unrestored::begun)?;
    let on = |shard: &u32| replicas.get(shard).map(Vec::as_slice).unwrap_or_default();
    let bytes = shards
        .iter()
        .flat_map(|(shard, of)| on(shard).iter().map(|_| of.bytes()));
    let way = Way::new(plan.via, total(bytes));
    // Cancelled when one has failed: then no other one is begun, and those under way end by themselves.
    let give_up = run.cancel.child_token();
    let mut under_way: FuturesUnordered<_> = shards
        .iter()
        .map(|(shard, of_shard)| {
            let place = Place {
                collection: at,
                shard: Some(*shard),
            };
            let to = Replicas {
                place,
                nodes: on(shard),
                give_up: &give_up,
            };
            transfer_shard(of, step, of_shard, to, &way)
        })
        .collect();
    // Of one that was made for it no shard is as it was.
    let mut reached = match step.overwrites {
        None => Reached::Asked,
        Some(_) => Reached::Nothing,
    };
    let mut failed: Option<Unrestored> = None;
    while let Some(ended) = under_way.next().await {
        let Err(unrestored) = ended else {
            reached = reached.max(Reached::Asked);
            continue;
        };
        give_up.cancel();
        reached = reached.max(unrestored.reached);
        match &failed {
            None => failed = Some(unrestored),
            Some(_) if unrestored.error.code() == Code::Cancelled => {}
            Some(_) => {
                let error = &unrestored.error;
                tracing::warn!(backup = %plan.id, collection = step.source, error = %error, "another shard of collection {:?} not restored", step.source);
            }
        }
    }
    match failed {
        None => Ok(way.end()),
        Some(unrestored) => Err(Unrestored { reached, ..unrestored }),
    }
}

/// Where a shard goes, and when.
struct Replicas<'a> {
    place: Place,
    /// Those that have a replica of it.
    nodes: &'a [Qdrant],
    give_up: &'a CancellationToken,
}

/// Restores each replica of a shard, one after the other: never two at once of one shard.
async fn transfer_shard(
    of: Restoring<'_>,
    step: &RestoreStep,
    shard: &ShardFrom<'_>,
    to: Replicas<'_>,
    way: &Way,
) -> Result<(), Unrestored> {
    let mut reached = Reached::Nothing;
    for node in to.nodes {
        let turn = of.turns.take(to.place, Some(node.url()));
        let turn = to.give_up.run_until_cancelled(turn).await;
        // It may come at the moment of another one's failure.
        let Some(_turn) = turn.filter(|_| !to.give_up.is_cancelled()) else {
            return Err(Unrestored {
                reached,
                ..Unrestored::untouched(stopped())
            });
        };
        let transfer = Transfer {
            of: SnapshotOf {
                collection: &step.target,
                kind: ArtifactKind::Shard(to.place.shard.unwrap_or_default()),
            },
            parts: shard.parts.as_deref(),
            ..Transfer::new(of, step, node, shard.from)
        };
        transfer_one(transfer, way).await.map_err(|unrestored| Unrestored {
            reached: reached.max(unrestored.reached),
            ..unrestored
        })?;
        reached = Reached::Asked;
    }
    Ok(())
}

/// What a shard is restored from.
struct ShardFrom<'a> {
    from: &'a From,
    /// Of the object of a whole collection: those of the shard.
    parts: Option<Vec<Part>>,
}

impl ShardFrom<'_> {
    fn bytes(&self) -> u64 {
        self.parts.as_deref().map_or(self.from.artifact.bytes, split::length)
    }
}

/// The shards, each from an object of its own, or from that of the whole collection.
async fn divided<'a>(
    ctx: &Context,
    step: &'a RestoreStep,
    creation: &Creation,
) -> Result<BTreeMap<u32, ShardFrom<'a>>> {
    let mut shards = BTreeMap::new();
    for from in &step.from {
        match from.artifact.kind {
            ArtifactKind::Shard(shard) => drop(shards.insert(shard, ShardFrom { from, parts: None })),
            ArtifactKind::Collection => {
                for (shard, parts) in blobs::divide(&ctx.store, &from.blob).await? {
                    let parts = Some(parts);
                    shards.insert(shard, ShardFrom { from, parts });
                }
            }
        }
    }
    match creation.ids().find(|id| !shards.contains_key(id)) {
        None => Ok(shards),
        Some(id) => Err(Error::new(
            Code::BackupDamaged,
            format!("the backup has nothing of shard {id} of collection {:?}", step.source),
        )
        .remedy("restore this collection from another backup: `qdrant-backup list` shows them")),
    }
}

/// How the bytes of a collection get to Qdrant, whichever of its shards are under way.
struct Way {
    state: Mutex<WayState>,
    /// Of how many.
    bytes: u64,
}

struct WayState {
    via: Via,
    /// Bytes uploaded so far.
    uploaded: Option<Arc<AtomicU64>>,
    /// What the reader should know.
    notes: Vec<String>,
}

impl Way {
    fn new(via: Via, bytes: u64) -> Self {
        Self {
            state: Mutex::new(WayState {
                via,
                uploaded: None,
                notes: Vec::new(),
            }),
            bytes,
        }
    }

    fn via(&self) -> Via {
        self.lock().via
    }

    /// From now on by upload.
    fn upload(&self, why: &Error) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.via, Via::Upload) != Via::Upload {
            let note = format!("Qdrant failed to fetch it, so it was uploaded: {}", why.chain());
            state.notes.push(note);
        }
    }

    fn note(&self, note: Option<String>) {
        self.lock().notes.extend(note);
    }

    /// What counts the bytes uploaded.
    fn uploaded(&self, run: &Run, step: &RestoreStep) -> Arc<AtomicU64> {
        let copying = || run.progress.copying(&step.unit(), Some(self.bytes));
        self.lock().uploaded.get_or_insert_with(copying).clone()
    }

    /// How, and what the reader should know.
    fn end(&self) -> (Via, Vec<String>) {
        let mut state = self.lock();
        (state.via, std::mem::take(&mut state.notes))
    }

    fn lock(&self) -> MutexGuard<'_, WayState> {
        // Every change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gets one object to a node, and that to restore it.
async fn transfer_one(transfer: Transfer<'_>, way: &Way) -> Result<(), Unrestored> {
    let Transfer {
        ctx, plan, step, run, ..
    } = transfer;
    // Qdrant fetches objects, not parts of them.
    if way.via() == Via::Url && transfer.parts.is_none() {
        run.progress.phase(&step.unit(), Phase::Restore);
        let unrestored = match by_url(transfer).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let error = &unrestored.error;
        // A second way is tried only where the first one has ended and changed nothing: into a collection that still does not
        // exist, or that was made for it.
        let may_try = plan.may_upload && step.overwrites.is_none() && has_ended(error);
        if !may_try || !(step.creation.is_some() || is_absent(ctx, &step.target).await.unwrap_or(false)) {
            return Err(unrestored);
        }
        tracing::warn!(backup = %plan.id, collection = step.source, error = %error, "Qdrant failed to fetch collection {:?}; uploading it", step.source);
        way.upload(error);
    }
    by_upload(transfer, way).await
}

/// One object on its way.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    ctx: &'a Context,
    plan: &'a RestorePlan,
    step: &'a RestoreStep,
    run: &'a Run,
    /// The node that it goes to.
    node: &'a Qdrant,
    from: &'a From,
    /// The parts of it that are restored, if not all of it.
    parts: Option<&'a [Part]>,
    /// What it is restored into.
    of: SnapshotOf<'a>,
}

impl<'a> Transfer<'a> {
    fn new(of: Restoring<'a>, step: &'a RestoreStep, node: &'a Qdrant, from: &'a From) -> Self {
        let Restoring { ctx, plan, run, .. } = of;
        Self {
            ctx,
            plan,
            step,
            run,
            node,
            from,
            parts: None,
            of: SnapshotOf {
                collection: &step.target,
                kind: from.artifact.kind,
            },
        }
    }
}

/// Whether a restore that failed so is surely over: Qdrant refused, or no URL could be signed, so that it was not asked.
/// A Qdrant that has not answered may still be at work: it makes the collection only after it has fetched and unpacked the
/// snapshot, and would replace then what a second restore put there.
pub(super) fn has_ended(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::QdrantFailed
            | Code::DiskFull
            | Code::QdrantUnauthorized
            | Code::QdrantForbidden
            | Code::CollectionNotFound
            | Code::StoreUnreachable
            | Code::StoreUnauthorized
            | Code::StoreForbidden
            | Code::StoreMissing
            | Code::StoreFailed
    )
}

async fn by_url(transfer: Transfer<'_>) -> Result<(), Unrestored> {
    let Transfer {
        ctx,
        node,
        from,
        of,
        run,
        ..
    } = transfer;
    let Some(signing) = ctx.store.signing() else {
        let error = Error::new(Code::Internal, "internal error: a URL for a store that cannot sign");
        return Err(Unrestored::untouched(error));
    };
    let signed = blobs::signed_url(signing, &from.blob, SIGNED_FOR);
    let url = run.unless_cancelled(signed).await.map_err(Unrestored::untouched)?;
    let recovered = node.recover(of, &url, &from.artifact.sha256);
    run.unless_cancelled(recovered).await.map_err(Unrestored::begun)
}

async fn by_upload(transfer: Transfer<'_>, way: &Way) -> Result<(), Unrestored> {
    let Transfer {
        ctx,
        step,
        run,
        node,
        from,
        parts,
        of,
        ..
    } = transfer;
    if run.cancel.is_cancelled() {
        return Err(Unrestored::untouched(stopped()));
    }
    let file = uploaded::new_name();
    let (source, expected, sha256): (Box<dyn Source>, _, _) = match parts {
        None => (
            Box::new(BlobSource::new(ctx.store.clone(), &from.blob)),
            Expected {
                bytes: from.artifact.bytes,
                sha256: parse_sha256(&from.artifact.sha256),
                crc32c: u32::from_str_radix(&from.artifact.crc32c, 16).ok(),
            },
            Some(from.artifact.sha256.as_str()),
        ),
        // The whole object was proven before; of its parts there is no checksum.
        Some(parts) => (
            Box::new(ShardSource::new(ctx.store.clone(), &from.blob, parts.to_vec())),
            Expected {
                bytes: split::length(parts),
                sha256: None,
                crc32c: None,
            },
            None,
        ),
    };
    let settings = &ctx.settings;
    let (body, watch) = transfer::outgoing(
        source,
        expected,
        (&ctx.store.url(), &from.artifact.key, &node.url()),
        &settings.limits,
        settings.rate.as_deref(),
        way.uploaded(run, step),
    );
    let sent = run
        .unless_cancelled(async {
            tokio::select! {
                sent = node.upload(of, &file, body, sha256) => sent,
                stalled = watch.stalled() => Err(stalled),
            }
        })
        .await;
    let left = match of.kind {
        ArtifactKind::Collection => uploaded::remove(ctx, run, &step.target, &file, &sent).await,
        // Of a shard Qdrant keeps no file.
        ArtifactKind::Shard(_) => None,
    };
    match sent {
        Ok(()) => {
            way.note(left);
            Ok(())
        }
        Err(error) => {
            let begun = Unrestored::begun(error);
            Err(Unrestored {
                left,
                // Of a part of the file Qdrant makes nothing.
                may_go_on: begun.may_go_on && watch.is_whole(),
                ..begun
            })
        }
    }
}
