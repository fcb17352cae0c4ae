//! The plan of a restore: what would be done, what would be overwritten, and what forbids it. A value that prints; nothing is
//! changed by making one.

use super::command::command;
use super::step::{Step, can_be_named, plan_step, target_name};
use super::swap::plan_aliases;
use super::{Request, Via, version};
use crate::base::error::{Code, Error, Result};
use crate::ops::backup::Context;
use crate::ops::plan;
use crate::repository::catalog::{self, Asked, Proof, Resolved, Verdict};
use crate::repository::manifest::{self, Collection, Manifest, Relation, Source, Status};
use crate::repository::names::BackupId;
use crate::repository::selection::Filter;
use crate::repository::selection::Selection;
use crate::wire::qdrant::ClusterInfo;
use futures_util::TryStreamExt;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::format_description::well_known::Rfc3339;

/// What would be done.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The backup.
    pub id: BackupId,
    /// What was asked for when it was made; nothing in it: everything.
    pub selection: Selection,
    /// Release of the Qdrant that it is of.
    pub backup_version: String,
    /// The Qdrant to restore into.
    pub target: String,
    /// Its release.
    pub target_version: String,
    /// Which Qdrant the backup is of, if it tells.
    pub source: Option<Source>,
    /// Which one it would be restored into.
    pub target_source: Source,
    /// How the bytes get there.
    pub via: Via,
    /// The collections in the order of their names.
    pub collections: Vec<Step>,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// What forbids it; it runs only without any.
    pub refusals: Vec<Refusal>,
    /// Whether an upload may follow when Qdrant cannot fetch the objects itself.
    #[serde(skip)]
    pub(super) may_upload: bool,
}

/// Why a plan must not run.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// The collection of the backup that it is about; none: all.
    pub collection: Option<String>,
    /// Stable code.
    pub code: Code,
    /// What is in the way.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Refusal {
    pub(super) fn of(collection: Option<&str>, error: &Error) -> Self {
        Self {
            collection: collection.map(str::to_owned),
            code: error.code(),
            message: error.chain(),
            remedy: error.remedy_text().map(str::to_owned),
        }
    }
}

impl Plan {
    /// Bytes to move.
    pub fn bytes(&self) -> u64 {
        self.collections.iter().map(|s| s.bytes).sum()
    }

    /// The error that its refusals amount to: with the code that they share, or else [`Code::RestoreRefused`].
    pub fn error(&self) -> Option<Error> {
        let first = self.refusals.first()?;
        let code = match self.refusals.iter().all(|r| r.code == first.code) {
            true => first.code,
            false => Code::RestoreRefused,
        };
        let list: Vec<_> = self.refusals.iter().map(|r| r.message.as_str()).collect();
        let error = Error::new(
            code,
            format!(
                "restore of backup {} refused, nothing was changed: {}",
                self.id,
                list.join("; ")
            ),
        )
        .permanent(true);
        let remedies: BTreeSet<_> = self.refusals.iter().filter_map(|r| r.remedy.as_deref()).collect();
        match remedies.is_empty() {
            true => Some(error),
            false => Some(error.remedy(remedies.into_iter().collect::<Vec<_>>().join("; "))),
        }
    }

    pub(super) fn refuse(&mut self, collection: Option<&str>, message: String, remedy: &str) {
        let error = Error::new(Code::RestoreRefused, message).remedy(remedy);
        self.refusals.push(Refusal::of(collection, &error));
    }
}

/// What is on the target.
pub(super) struct Target {
    pub(super) collections: BTreeSet<String>,
    /// Alias to collection.
    pub(super) aliases: BTreeMap<String, String>,
}

/// Plans a restore. `Err`: there is nothing to plan with, or Qdrant or the store cannot be asked.
/// With `drill` each target is a throw-away name that begins so.
pub(super) async fn make(ctx: &Context, request: &Request, drill: Option<&str>) -> Result<Plan> {
    let filter = Filter::new(&request.selection)?;
    let qdrant = &ctx.qdrant;
    let resolved = resolve(ctx, request).await?;
    let manifest = manifest::read(&*ctx.store, &resolved.id).await?;
    let collections = qdrant.collections().await?;
    let mut plan = Plan {
        id: manifest.id,
        selection: manifest.selection.clone(),
        backup_version: manifest.qdrant.version.clone(),
        target: qdrant.url(),
        target_version: qdrant.version().await?,
        source: manifest.qdrant.source.clone(),
        target_source: Source::default(),
        via: request.via,
        collections: Vec::new(),
        warnings: resolved.warnings,
        refusals: Vec::new(),
        may_upload: request.via == Via::Auto,
    };
    let target = Target {
        collections: collections.into_iter().collect(),
        aliases: qdrant
            .aliases()
            .await?
            .into_iter()
            .map(|a| (a.alias, a.collection))
            .collect(),
    };
    if !plan.id.has_come(ctx.clock.now()) {
        plan.warnings.push(format!(
            "the time of backup {} has not come yet: a clock was wrong, or somebody made it by hand",
            plan.id
        ));
    }
    let chosen = choose(&filter, request, &manifest)?;
    if manifest.status == Status::Partial {
        let missing: Vec<_> = manifest.failed.iter().map(|f| format!("{:?}", f.collection)).collect();
        plan.warnings.push(format!(
            "the backup is partial: it does not have {}",
            missing.join(", ")
        ));
    }
    // Who asks for all that there is may take it for all that there was. A drill asks for nobody.
    if drill.is_none() && request.selection.is_everything() && !plan.selection.is_everything() {
        plan.warnings.push(format!(
            "backup {} has only what was selected when it was made: {}; {}",
            plan.id,
            plan.selection,
            of_more(ctx, &plan.selection).await
        ));
    }
    refuse_by_version(&mut plan);
    if let ClusterInfo::Enabled { peers, .. } = qdrant.cluster().await?
        && peers.len() > 1
    {
        let error = Error::new(Code::Unsupported, format!("{} is a cluster of {} nodes, and this version restores into a single node only", plan.target, peers.len()))
            .remedy("a collection snapshot restored through one node would have to be copied to the others: restore into a single node");
        plan.refusals.push(Refusal::of(None, &error));
    }
    for (at, collection) in chosen.iter().enumerate() {
        let to = match drill {
            Some(stem) => format!("{stem}-{at}"),
            None => target_name(request, collection, plan.id, &target),
        };
        let step = plan_step(ctx, request, &target, collection, to, &mut plan).await?;
        plan.collections.push(step);
    }
    plan.target_source = target_source(ctx, &plan.collections).await;
    refuse_other_source(request, &mut plan);
    heed_proofs(ctx, request, &mut plan, drill.is_some()).await;
    if drill.is_none() {
        plan_aliases(&mut plan, request, &target, &chosen);
    }
    // Qdrant does not look at the rights behind a name that it does not take.
    if let Some(first) = plan.collections.iter().find(|step| can_be_named(&step.target))
        && let Err(error) = qdrant.may_restore(&first.target).await
    {
        match error.code() {
            Code::QdrantForbidden => plan.refusals.push(Refusal::of(None, &error)),
            _ => return Err(error),
        }
    }
    choose_way(ctx, request, &mut plan).await;
    Ok(plan)
}

/// Which Qdrant it is that is restored into. Only collections that would be replaced are asked about: another one may be broken,
/// and keeps nobody waiting.
async fn target_source(ctx: &Context, steps: &[Step]) -> Source {
    let settings = &ctx.settings.source;
    let name = settings.name.as_deref().filter(|_| !settings.elsewhere);
    let replaced = steps.iter().filter(|step| step.overwrites.is_some());
    let targets: Vec<_> = replaced.map(|step| step.target.clone()).collect();
    plan::source(&ctx.qdrant, name, &targets).await
}

/// The backup that is asked for. `latest` is one of the Qdrant that is backed up.
async fn resolve(ctx: &Context, request: &Request) -> Result<Resolved> {
    let settings = &ctx.settings.source;
    let source = match (request.id.as_str(), settings.elsewhere) {
        ("latest", false) => {
            let collections = ctx.qdrant.collections().await?;
            Some(plan::source(&ctx.qdrant, settings.name.as_deref(), &collections).await)
        }
        // Of the one that is backed up no more than its name is known here.
        _ => settings.name.clone().map(|name| Source {
            name: Some(name),
            ..Source::default()
        }),
    };
    let asked = Asked {
        selection: &request.selection,
        source: source.as_ref(),
    };
    catalog::resolve(&*ctx.store, &request.id, asked, ctx.clock.now()).await
}

/// What one Qdrant has is not replaced by what another one had, unless that is meant.
fn refuse_other_source(request: &Request, plan: &mut Plan) {
    let Some(source) = plan.source.clone() else { return };
    let target = plan.target_source.clone();
    let both = match target.relation(&source) {
        Relation::Same => return,
        _ if request.yes => return,
        Relation::Different => format!("of {target}, and the backup is of another Qdrant, {source}"),
        Relation::Unknown => {
            format!("of {target}, and whether that is the Qdrant of the backup, {source}, is not known")
        }
    };
    let over: Vec<_> = plan
        .collections
        .iter()
        .filter_map(|s| Some((s.source.clone(), s.target.clone(), s.overwrites.as_ref()?.lost()?)))
        .collect();
    let remedy = format!(
        "{} beside {} replaces it all the same; to have both: {}",
        request.form.option("yes"),
        request.form.option("overwrite"),
        command(&request.beside(plan.id), false)
    );
    for (name, target, lost) in over {
        plan.refuse(
            Some(&name),
            format!("collection {target:?} ({lost}) is {both}"),
            &remedy,
        );
    }
}

/// Says which good backup is the newest one of everything, or at least of no named collections.
async fn of_more(ctx: &Context, selection: &Selection) -> String {
    /// Of a service that always leaves something out, no backup is one of everything.
    const LOOKED_AT: usize = 100;
    let mut seen = 0;
    let mut most = None;
    let search = async {
        let mut backups = Box::pin(catalog::newest_first(&*ctx.store, catalog::READ_AT_ONCE, ctx.clock.now()).await?);
        while seen < LOOKED_AT
            && let Some(found) = backups.try_next().await?
        {
            seen += 1;
            let summary = found.summary;
            let Some(other) = summary.selection.as_ref().filter(|_| summary.is_good()) else {
                continue;
            };
            if other.is_everything() {
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
        Err(error) => format!("which one has everything could not be found out: {}", error.chain()),
    };
    none + &most.unwrap_or_default()
}

/// What a verification or a drill found before: damage forbids to write over what is there now, and either is told.
async fn heed_proofs(ctx: &Context, request: &Request, plan: &mut Plan, is_drill: bool) {
    let id = plan.id;
    let (verified, drilled) = match catalog::proofs(&*ctx.store, &id).await {
        Ok(proofs) => proofs,
        // Whoever may read the objects and nothing else can restore all the same.
        Err(error) => {
            return plan.warnings.push(format!(
                "whether a verification or a drill found backup {id} bad cannot be read: {}",
                error.chain()
            ));
        }
    };
    let at = |proof: &Proof| proof.at.and_then(|at| at.format(&Rfc3339).ok());
    let said = |proof: &Option<Proof>, verdict| proof.as_ref().filter(|p| p.verdict == verdict).map(at);
    let unread = |proof| said(proof, Verdict::Unknown).is_some();
    if let Some(at) = said(&verified, Verdict::Damaged).or_else(|| said(&drilled, Verdict::Damaged)) {
        let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let found = format!("backup {id} was found damaged{when}");
        plan.warnings
            .push(format!("{found}: what it has may not be what was saved"));
        refuse_over_points(request, plan, "verify", &found);
    } else if unread(&verified) || unread(&drilled) {
        let (by, what) = match unread(&verified) {
            true => ("verify", "verification"),
            false => ("drill", "drill"),
        };
        let found = format!("whether the last {what} found backup {id} damaged cannot be read");
        plan.warnings.push(format!("{found}: its record is not understood"));
        refuse_over_points(request, plan, by, &found);
    }
    // The next drill is the answer to one that failed.
    if let Some(at) = said(&drilled, Verdict::Failed).filter(|_| !is_drill) {
        let when = at.map(|at| format!(" at {at}")).unwrap_or_default();
        plan.warnings.push(format!(
            "a drill of backup {id} failed{when}: it may not come back; to try that again: {}",
            request.form.proof("drill", id)
        ));
    }
}

/// What may be damaged replaces nothing. `by` makes the record anew that says so.
fn refuse_over_points(request: &Request, plan: &mut Plan, by: &str, found: &str) {
    let id = plan.id;
    let over: Vec<_> = plan
        .collections
        .iter()
        .filter(|_| request.overwrite)
        .filter_map(|s| Some((s.source.clone(), s.target.clone(), s.overwrites.as_ref()?.lost()?)))
        .collect();
    for (source, target, lost) in over {
        plan.refuse(
            Some(&source),
            format!("{found}, and it would replace the collection {target:?}: {lost}"),
            &format!(
                "check it again, in case it has been mended: {}; or restore another backup, or this one beside what is there: {}",
                request.form.proof(by, id),
                command(&request.beside(id), false)
            ),
        );
    }
}

fn choose<'a>(filter: &Filter, request: &Request, manifest: &'a Manifest) -> Result<Vec<&'a Collection>> {
    let names: Vec<_> = manifest.collections.iter().map(|c| c.name.clone()).collect();
    let picked = filter.pick(&request.selection, &names).map_err(|missing| {
        let why = manifest.failed.iter().find(|f| f.collection == *missing);
        let why = why.map_or(String::new(), |f| format!(": it could not be saved ({})", f.message));
        Error::new(
            Code::CollectionNotFound,
            format!("backup {} has no collection {missing:?}{why}", manifest.id),
        )
        .remedy(format!("see what it has: {}", request.form.show(manifest.id)))
    })?;
    if picked.is_empty() {
        return Err(Error::new(
            Code::RestoreRefused,
            format!(
                "none of the {} collections of backup {} is selected",
                names.len(),
                manifest.id
            ),
        )
        .remedy("check the patterns"));
    }
    if request.into.as_deref().is_some_and(|into| !into.contains("{}")) && picked.len() > 1 {
        return Err(Error::new(
            Code::BadRequest,
            format!("{} collections cannot be restored into one", picked.len()),
        )
        .remedy("write {} in the new name where the old one belongs, or select one collection"));
    }
    if request.swap && (request.into.is_some() || request.overwrite) {
        return Err(Error::new(
            Code::BadRequest,
            "a swap goes with neither a new name nor with overwriting",
        )
        .remedy("it restores beside the live collection under a name of its own, and then moves the aliases"));
    }
    Ok(manifest
        .collections
        .iter()
        .filter(|c| picked.contains(&c.name))
        .collect())
}

fn refuse_by_version(plan: &mut Plan) {
    if let Some(objection) = version::objection(&plan.backup_version, &plan.target_version) {
        plan.refuse(
            None,
            objection,
            "use a Qdrant of the backup's own release, at best with the newest patch",
        );
    }
}

/// Decides how the bytes get to Qdrant. A URL is tried out here: credentials may be fit for reading and not for signing.
async fn choose_way(ctx: &Context, request: &Request, plan: &mut Plan) {
    let wanted = plan.via;
    if wanted == Via::Upload {
        return;
    }
    let tried = match (
        ctx.store.signing(),
        plan.collections.iter().find_map(|s| s.from.as_ref()),
    ) {
        (Some(signing), Some(from)) => signing
            .signed_get_url(&from.meta.key, Some(&from.meta.version), Duration::from_secs(60))
            .await
            .map(|_| ()),
        (Some(_), None) => Ok(()),
        (None, _) => Err(
            Error::new(Code::RestoreRefused, format!("{} cannot sign URLs", ctx.store.url())).remedy(format!(
                "only gs:// has signed URLs; restore with {} upload",
                request.form.option("via")
            )),
        ),
    };
    match (tried, wanted) {
        (Ok(()), _) => plan.via = Via::Url,
        (Err(error), Via::Url) => plan.refusals.push(Refusal::of(None, &error)),
        (Err(error), _) => {
            if ctx.store.signing().is_some() {
                plan.warnings.push(format!(
                    "Qdrant cannot fetch the objects itself, so they are uploaded: {}",
                    error.chain()
                ));
            }
            plan.via = Via::Upload;
        }
    }
}
