//! The plan of a restore: what would be done, what would be overwritten, and what forbids it. A value that prints; nothing is
//! changed by making one.

use super::command::command;
use super::step::{Existing, RestoreStep, can_be_named, left_beside, plan_step, target_name};
use super::swap::plan_aliases;
use super::{RestoreRequest, Via, version};
use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::total::total;
use crate::ops::context::Context;
use crate::ops::source;
use crate::repository::blobs;
use crate::repository::catalog::{self, LatestQuery, Proof, ProofVerdict, Resolved};
use crate::repository::manifest::{self, Collection, Manifest, Relation, Source, Status};
use crate::repository::names::{BackupId, DrillTag, has_come};
use crate::repository::selection::{self, Filter, Selection};
use crate::wire::qdrant::Nodes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::format_description::well_known::Rfc3339;

/// What would be done.
#[derive(Clone, Debug, Serialize)]
pub struct RestorePlan {
    pub id: BackupId,
    /// What was asked for when it was made; nothing in it: everything.
    pub selection: Selection,
    /// Seconds since it was finished; `None` when that is in the future.
    pub(crate) age_seconds: Option<u64>,
    /// Release of the Qdrant that it is of.
    pub(crate) backup_version: String,
    /// The Qdrant to restore into.
    pub target: String,
    /// Its release.
    pub(crate) target_version: String,
    /// Which Qdrant the backup is of, if it tells.
    pub source: Option<Source>,
    /// Which one it would be restored into.
    pub(crate) target_source: Source,
    /// How the bytes get there.
    pub via: Via,
    /// The collections in the order in which they begin: that in which they were asked for, else that of their names.
    pub collections: Vec<RestoreStep>,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// What forbids it; it runs only without any.
    pub refusals: Vec<Refusal>,
    /// The nodes of the target.
    #[serde(skip)]
    pub(super) nodes: Nodes,
    /// Whether an upload may follow when Qdrant cannot fetch the objects itself.
    #[serde(skip)]
    pub(super) may_upload: bool,
}

/// Why a plan must not run.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// The collection of the backup that it is about; none: all.
    pub collection: Option<String>,
    /// What is in the way.
    #[serde(flatten)]
    pub error: ErrorInfo,
}

impl Refusal {
    pub(super) fn of(collection: Option<&str>, error: &Error) -> Self {
        Self {
            collection: collection.map(str::to_owned),
            error: error.into(),
        }
    }
}

impl RestorePlan {
    /// Bytes to move.
    pub fn bytes(&self) -> u64 {
        total(self.collections.iter().filter(|s| s.is_restored()).map(|s| s.bytes))
    }

    /// The targets whose points would be replaced, and how many those are; `None` where Qdrant cannot tell.
    pub fn replaced(&self) -> Vec<(&str, Option<u64>)> {
        let replaced = losses(&self.collections).map(|(step, _)| match &step.overwrites {
            Some(Existing::Readable { points }) => (step.target.as_str(), Some(*points)),
            _ => (step.target.as_str(), None),
        });
        replaced.collect()
    }

    /// The error of its refusals: with the code that they share, or else [`Code::RestoreRefused`].
    pub fn error(&self) -> Option<Error> {
        let first = self.refusals.first()?;
        let code = match self.refusals.iter().all(|r| r.error.code == first.error.code) {
            true => first.error.code,
            false => Code::RestoreRefused,
        };
        let list: Vec<_> = self.refusals.iter().map(|r| r.error.message.as_str()).collect();
        let error = Error::new(
            code,
            format!(
                "restore of backup {} refused, nothing was changed: {}",
                self.id,
                list.join("; ")
            ),
        )
        .permanent(true);
        let remedies: BTreeSet<_> = self.refusals.iter().filter_map(|r| r.error.remedy.as_deref()).collect();
        match remedies.is_empty() {
            true => Some(error),
            false => Some(error.remedy(remedies.into_iter().collect::<Vec<_>>().join("; "))),
        }
    }
}

/// What one part of planning found.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) refusals: Vec<Refusal>,
}

impl Notes {
    pub(super) fn refuse(&mut self, collection: Option<&str>, message: String, remedy: &str) {
        let error = Error::new(Code::RestoreRefused, message).remedy(remedy);
        self.refusals.push(Refusal::of(collection, &error));
    }

    fn extend(&mut self, more: Self) {
        self.warnings.extend(more.warnings);
        self.refusals.extend(more.refusals);
    }
}

/// What each step is planned with.
pub(super) struct StepContext<'a> {
    pub(super) ctx: &'a Context,
    pub(super) request: &'a RestoreRequest,
    pub(super) id: BackupId,
    pub(super) target: &'a Target,
    pub(super) nodes: &'a Nodes,
    /// Whether configurations must be equal to the letter.
    pub(super) to_the_letter: bool,
}

/// What is on the target.
pub(super) struct Target {
    pub(super) collections: BTreeSet<String>,
    /// Alias to collection.
    pub(super) aliases: BTreeMap<String, String>,
}

/// Plans a restore. `Err`: there is nothing to plan with, or Qdrant or the store cannot be asked.
/// With `drill` each target is a temporary name of it.
pub(super) async fn make(ctx: &Context, request: &RestoreRequest, drill: Option<DrillTag>) -> Result<RestorePlan> {
    let filter = Filter::new(&request.selection)?;
    let qdrant = &ctx.qdrant;
    let resolved = resolve(ctx, request).await?;
    let manifest = manifest::read(&*ctx.store, &resolved.id).await?;
    let collections = qdrant.collections().await?;
    let target_version = qdrant.version().await?;
    let target = Target {
        collections: collections.into_iter().collect(),
        aliases: qdrant
            .aliases()
            .await?
            .into_iter()
            .map(|a| (a.alias, a.collection))
            .collect(),
    };
    let id = manifest.id;
    let chosen = choose(&filter, request, &manifest)?;
    let mut notes = Notes {
        warnings: resolved.warnings,
        ..Notes::default()
    };
    notes.extend(of_backup(ctx, request, &manifest, drill.is_some()).await);
    let (nodes, found) = of_target(ctx, &manifest, &target_version).await?;
    notes.extend(found);
    notes.extend(too_few(request, &nodes, &qdrant.url()));
    let of = StepContext {
        ctx,
        request,
        id,
        target: &target,
        nodes: &nodes,
        to_the_letter: version::same_minor(&manifest.qdrant.version, &target_version),
    };
    let mut planned = Vec::new();
    for (at, collection) in chosen.iter().enumerate() {
        let to = match drill {
            Some(drill) => drill.collection(at).to_string(),
            None => target_name(request, collection, id, &target),
        };
        if let Some(left) = left_beside(request, collection, id, &target) {
            notes.warnings.push(format!(
                "collection {left:?} is of an earlier attempt to swap, no alias points to it, and it is not reused: delete it if nobody \
                 needs it"
            ));
        }
        planned.push(plan_step(&of, collection, to));
    }
    let planned: Vec<_> = stream::iter(planned)
        .buffered(ctx.settings.restore_concurrency.max(1))
        .try_collect()
        .await?;
    let mut steps = Vec::new();
    for (step, found) in planned {
        steps.push(step);
        notes.extend(found);
    }
    let target_source = target_source(ctx, &steps).await;
    if let Some(source) = &manifest.qdrant.source {
        notes.extend(other_source(request, id, source, &target_source, &steps));
    }
    notes.extend(proofs(ctx, request, id, &steps, drill.is_some()).await);
    if drill.is_none() {
        for (step, collection) in steps.iter_mut().zip(&chosen) {
            let (aliases, found) = plan_aliases(request, &target, &step.target, collection);
            step.aliases = aliases;
            notes.extend(found);
        }
    }
    // Qdrant does not look at the rights behind a name that it does not take.
    if let Some(first) = steps.iter().find(|step| can_be_named(&step.target))
        && let Err(error) = qdrant.may_restore(&first.target).await
    {
        match error.code() {
            Code::QdrantForbidden => notes.refusals.push(Refusal::of(None, &error)),
            _ => return Err(error),
        }
    }
    let (via, found) = choose_transfer(ctx, request, &steps).await;
    notes.extend(found);
    Ok(RestorePlan {
        id,
        age_seconds: u64::try_from((ctx.clock.now() - manifest.finished_at).whole_seconds()).ok(),
        selection: manifest.selection,
        backup_version: manifest.qdrant.version,
        target: qdrant.url(),
        target_version,
        source: manifest.qdrant.source,
        target_source,
        via,
        collections: steps,
        warnings: notes.warnings,
        refusals: notes.refusals,
        nodes,
        may_upload: request.via == Via::Auto,
    })
}

/// What the reader should know of the backup itself.
async fn of_backup(ctx: &Context, request: &RestoreRequest, manifest: &Manifest, is_drill: bool) -> Notes {
    let (id, selection) = (manifest.id, &manifest.selection);
    let mut notes = Notes::default();
    let now = ctx.clock.now();
    if !id.has_come(now) || !has_come(manifest.finished_at, now) {
        notes.warnings.push(format!("backup {id}: {}", catalog::FUTURE));
    }
    if manifest.status == Status::Partial {
        let missing: Vec<_> = manifest.failed.iter().map(|f| format!("{:?}", f.collection)).collect();
        notes
            .warnings
            .push(format!("the backup is partial: it is missing {}", missing.join(", ")));
    }
    if manifest.qdrant.scoped_key && !is_drill {
        notes.warnings.push(format!(
            "backup {id} was made with a key for certain collections: it may be missing other collections, and aliases of these"
        ));
    }
    // Who asks for all that there is may take it for all that there was. A drill asks for nobody.
    if !is_drill && request.selection.is_everything() && !selection.is_everything() {
        notes.warnings.push(format!(
            "backup {id} has only its selection: {selection}; {}",
            larger_backup_hint(ctx, selection).await
        ));
    }
    notes
}

/// What forbids this target for any collection, and the nodes that it has. Each of them may get any shard.
async fn of_target(ctx: &Context, manifest: &Manifest, target_version: &str) -> Result<(Nodes, Notes)> {
    let mut notes = Notes::default();
    let (nodes, versions) = match ctx.qdrant.nodes().await {
        Ok(nodes) => {
            let versions = match nodes.are_several() {
                true => nodes.versions().await?,
                false => BTreeMap::from([(0, target_version.to_owned())]),
            };
            (nodes, versions)
        }
        Err(error) if matches!(error.code(), Code::Unsupported | Code::ConfigInvalid) => {
            notes.refusals.push(Refusal::of(None, &error));
            let versions = BTreeMap::from([(0, target_version.to_owned())]);
            // What depends on them is not told, since they are not known.
            let mut nodes = Nodes::one(&ctx.qdrant);
            nodes.is_hidden = true;
            (nodes, versions)
        }
        Err(error) => return Err(error),
    };
    let distinct: BTreeSet<_> = versions.values().collect();
    for (peer, version) in &versions {
        if let Some(objection) = version::incompatibility(&manifest.qdrant.version, version) {
            let objection = match distinct.len() {
                1 => objection,
                _ => format!("node {}: {objection}", nodes.of(Some(*peer)).url()),
            };
            let remedy = "use a Qdrant of the backup's own release, preferably with the newest patch";
            notes.refuse(None, objection, remedy);
            if distinct.len() == 1 {
                break;
            }
        }
    }
    Ok((nodes, notes))
}

/// Refuses more replicas of a shard than there are nodes: Qdrant would make fewer without a word.
fn too_few(request: &RestoreRequest, nodes: &Nodes, url: &str) -> Notes {
    let mut notes = Notes::default();
    let places = nodes.all().len();
    let wanted = request
        .replication_factor
        .and_then(|factor| usize::try_from(factor).ok());
    if let Some(wanted) = wanted.filter(|wanted| *wanted > places && !nodes.is_hidden) {
        let text = format!("{wanted} replicas of each shard need as many nodes; {url} has {places}");
        let remedy = format!(
            "add nodes, or set {} to at most {places}",
            request.form.option("replication_factor")
        );
        notes.refuse(None, text, &remedy);
    }
    notes
}

/// Which Qdrant it is that is restored into. Only collections that would be replaced are asked about: another one may be broken,
/// and keeps nobody waiting.
async fn target_source(ctx: &Context, steps: &[RestoreStep]) -> Source {
    let settings = &ctx.settings.source;
    let name = settings.name.as_deref().filter(|_| !settings.elsewhere);
    let replaced = steps.iter().filter(|step| step.overwrites.is_some());
    let targets: Vec<_> = replaced.map(|step| step.target.clone()).collect();
    source::qdrant(&ctx.qdrant, name, &targets).await
}

/// The backup that is asked for. `latest` is one of the Qdrant that is backed up.
async fn resolve(ctx: &Context, request: &RestoreRequest) -> Result<Resolved> {
    let settings = &ctx.settings.source;
    let source = match (request.id.as_str(), settings.elsewhere) {
        ("latest", false) => {
            let collections = ctx.qdrant.collections().await?;
            Some(source::qdrant(&ctx.qdrant, settings.name.as_deref(), &collections).await)
        }
        // Of the one that is backed up no more than its name is known here.
        _ => settings.name.clone().map(|name| Source {
            name: Some(name),
            ..Source::default()
        }),
    };
    let asked = LatestQuery {
        selection: &request.selection,
        source: source.as_ref(),
        not_after: request.not_after,
    };
    catalog::resolve(&*ctx.store, &request.id, asked, ctx.clock.now()).await
}

/// What one Qdrant has is not replaced by what another one had, unless that is meant.
fn other_source(
    request: &RestoreRequest,
    id: BackupId,
    source: &Source,
    target: &Source,
    steps: &[RestoreStep],
) -> Notes {
    let mut notes = Notes::default();
    let both = match target.relation(source) {
        Relation::Same => return notes,
        _ if request.other_source => return notes,
        Relation::Different => format!("on {target}; the backup is of another Qdrant, {source}"),
        Relation::Unknown => {
            format!("on {target}; whether that is the Qdrant of the backup, {source}, is unknown")
        }
    };
    let remedy = format!(
        "add {} to {} to replace it anyway; to keep both: {}",
        request.form.option("yes"),
        request.form.option("overwrite"),
        command(&request.under_new_names(id), false)
    );
    for (step, lost) in losses(steps) {
        let text = format!("collection {:?} ({lost}) is {both}", step.target);
        notes.refuse(Some(&step.source), text, &remedy);
    }
    notes
}

/// The steps that would replace points, and what would be lost.
fn losses(steps: &[RestoreStep]) -> impl Iterator<Item = (&RestoreStep, String)> {
    steps
        .iter()
        .filter_map(|step| Some((step, step.overwrites.as_ref()?.lost()?)))
}

/// Says which good backup is the newest one of everything, or at least of no named collections.
async fn larger_backup_hint(ctx: &Context, selection: &Selection) -> String {
    /// Of a service that always leaves something out, no backup is one of everything.
    const LOOKED_AT: usize = 100;
    let mut seen = 0;
    let mut most = None;
    let search = async {
        let mut backups = Box::pin(
            catalog::newest_first(&*ctx.store, catalog::READ_AT_ONCE, ctx.clock.now(), |found| {
                found.summary
            })
            .await?,
        );
        while seen < LOOKED_AT
            && let Some(summary) = backups.try_next().await?
        {
            seen += 1;
            let Some(other) = summary.selection.as_ref().filter(|_| summary.is_good()) else {
                continue;
            };
            if other.is_everything() && !summary.scoped_key {
                return Ok(Some(summary.id));
            }
            if most.is_none() && other.collections.is_empty() && other != selection {
                most = Some(format!("; {} has {other}", summary.id));
            }
        }
        Ok::<_, Error>(None)
    };
    let none = match search.await {
        Ok(Some(id)) => return format!("the newest good backup of everything is {id}"),
        Ok(None) if seen < LOOKED_AT => "there is no good backup of everything".to_owned(),
        Ok(None) => format!("none of the newest {LOOKED_AT} is a good backup of everything"),
        Err(error) => format!("failed to look for a backup of everything: {}", error.chain()),
    };
    none + &most.unwrap_or_default()
}

/// What a verification or a drill found before: damage forbids to write over what is there now, and either is told.
async fn proofs(ctx: &Context, request: &RestoreRequest, id: BackupId, steps: &[RestoreStep], is_drill: bool) -> Notes {
    let mut notes = Notes::default();
    let (verified, drilled) = match catalog::proofs(&*ctx.store, &id).await {
        Ok(proofs) => proofs,
        // Whoever may read the objects and nothing else can restore all the same.
        Err(error) => {
            notes.warnings.push(format!(
                "failed to read the results of verification and drill of backup {id}: {}",
                error.chain()
            ));
            return notes;
        }
    };
    let at = |proof: &Proof| proof.at.and_then(|at| at.format(&Rfc3339).ok());
    let said = |proof: &Option<Proof>, verdict| proof.as_ref().filter(|p| p.verdict == verdict).map(at);
    let unreadable = |proof| said(proof, ProofVerdict::Unknown).is_some();
    if let Some(at) = said(&verified, ProofVerdict::Damaged).or_else(|| said(&drilled, ProofVerdict::Damaged)) {
        let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let found = format!("backup {id} was found damaged{when}");
        notes.extend(overwrite_notes(request, id, steps, "verify", &found));
        notes
            .warnings
            .push(format!("{found}: its content may differ from what was saved"));
    } else if unreadable(&verified) || unreadable(&drilled) {
        let (by, what) = match unreadable(&verified) {
            true => ("verify", "verification"),
            false => ("drill", "drill"),
        };
        let found = format!("the result of the last {what} of backup {id} is unreadable");
        notes.extend(overwrite_notes(request, id, steps, by, &found));
        notes.warnings.push(format!("{found}: unknown record"));
    }
    // The next drill is the answer to one that failed.
    if let Some(at) = said(&drilled, ProofVerdict::Failed).filter(|_| !is_drill) {
        let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
        notes.warnings.push(format!(
            "a drill of backup {id} failed{when}: it may not be restorable; to drill it again: {}",
            request.form.proof("drill", id)
        ));
    }
    notes
}

/// What may be damaged replaces nothing. `by` makes the record anew that says so.
fn overwrite_notes(request: &RestoreRequest, id: BackupId, steps: &[RestoreStep], by: &str, found: &str) -> Notes {
    let mut notes = Notes::default();
    for (step, lost) in losses(steps) {
        if !request.overwrites(&step.source) {
            continue;
        }
        notes.refuse(
            Some(&step.source),
            format!("{found}, and it would replace collection {:?}: {lost}", step.target),
            &format!(
                "check it again, in case it was repaired: {}; or restore another backup, or this one beside the \
                 collection: {}",
                request.form.proof(by, id),
                command(&request.under_new_names(id), false)
            ),
        );
    }
    notes
}

fn not_in_backup(request: &RestoreRequest, manifest: &Manifest, missing: &str, why: &str) -> Error {
    let names: Vec<_> = manifest.collections.iter().map(|c| c.name.clone()).collect();
    let meant = selection::meant(missing, &names).map_or_else(String::new, |meant| format!("{meant}; "));
    Error::new(
        Code::CollectionNotFound,
        format!("backup {} has no collection {missing:?}{why}", manifest.id),
    )
    .remedy(format!(
        "{meant}see its collections: {}",
        request.form.show(manifest.id)
    ))
}

fn choose<'a>(filter: &Filter, request: &RestoreRequest, manifest: &'a Manifest) -> Result<Vec<&'a Collection>> {
    let names: Vec<_> = manifest.collections.iter().map(|c| c.name.clone()).collect();
    let picked = filter.pick(&request.selection, &names).map_err(|missing| {
        let why = manifest.failed.iter().find(|f| f.collection == *missing);
        let why = why.map_or(String::new(), |f| format!(": it was not saved ({})", f.error.message));
        not_in_backup(request, manifest, missing, &why)
    })?;
    if let Some(missing) = request.overwrite_only.iter().find(|name| !picked.contains(name)) {
        return Err(not_in_backup(request, manifest, missing, " that is restored"));
    }
    if picked.is_empty() {
        return Err(Error::new(
            Code::RestoreRefused,
            format!(
                "the selection matches none of the {} collections of backup {}",
                names.len(),
                manifest.id
            ),
        )
        .remedy("check the patterns"));
    }
    manifest.require_once(&picked)?;
    if request.into.as_deref().is_some_and(|into| !into.contains("{}")) && picked.len() > 1 {
        return Err(Error::new(
            Code::BadRequest,
            format!("{} collections cannot be restored into one", picked.len()),
        )
        .remedy("write {} in the new name where the old one belongs, or select one collection"));
    }
    if request.swap && (request.into.is_some() || request.overwrite) {
        return Err(
            Error::new(Code::BadRequest, "a swap excludes a new name and overwriting").remedy(
                "omit them; a swap restores beside the live collection under a generated name, then moves the \
             aliases",
            ),
        );
    }
    let mut chosen: Vec<_> = manifest
        .collections
        .iter()
        .filter(|c| picked.contains(&c.name))
        .collect();
    let asked = &request.selection.collections;
    chosen.sort_by_key(|c| asked.iter().position(|name| *name == c.name));
    Ok(chosen)
}

/// Decides how the bytes get to Qdrant. A URL is tried out here: credentials may be fit for reading and not for signing.
async fn choose_transfer(ctx: &Context, request: &RestoreRequest, steps: &[RestoreStep]) -> (Via, Notes) {
    let mut notes = Notes::default();
    if request.via == Via::Upload {
        return (Via::Upload, notes);
    }
    let tried = match (ctx.store.signing(), steps.iter().find_map(|s| s.from.first())) {
        (Some(signing), Some(from)) => blobs::signed_url(signing, &from.blob, Duration::from_secs(60))
            .await
            .map(|_| ()),
        (Some(_), None) => Ok(()),
        (None, _) => Err(
            Error::new(Code::RestoreRefused, format!("{} cannot sign URLs", ctx.store.url())).remedy(format!(
                "restore with {} upload; only gs:// has signed URLs",
                request.form.option("via")
            )),
        ),
    };
    let via = match (tried, request.via) {
        (Ok(()), _) => Via::Url,
        (Err(error), Via::Url) => {
            notes.refusals.push(Refusal::of(None, &error));
            Via::Url
        }
        (Err(error), _) => {
            if ctx.store.signing().is_some() {
                notes.warnings.push(format!(
                    "Qdrant cannot fetch the objects itself, so they are uploaded: {}",
                    error.chain()
                ));
            }
            Via::Upload
        }
    };
    (via, notes)
}
