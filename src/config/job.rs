//! Which task of which execution of a job this process is, as Cloud Run tells it.

use super::reader::Reader;
use crate::ops::backup::job::Task;

/// More than any job has.
const MOST_TASKS: u32 = 10_000;

/// `CLOUD_RUN_EXECUTION`: the execution. `CLOUD_RUN_TASK_INDEX`: the task's number, from 0. `CLOUD_RUN_TASK_COUNT`: how many
/// tasks there are. `CLOUD_RUN_TASK_ATTEMPT`: how often the task was tried before, default 0. `BACKUP_JOB_MAX_RETRIES`: how
/// often the job is set to try a task again, which Cloud Run does not tell; default 0, so that no failure waits for a further
/// attempt that never comes.
///
/// `None` where the first three are unset: this is no job.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Task> {
    const EXECUTION: &str = "CLOUD_RUN_EXECUTION";
    const INDEX: &str = "CLOUD_RUN_TASK_INDEX";
    const COUNT: &str = "CLOUD_RUN_TASK_COUNT";
    let max_retries = reader.number("BACKUP_JOB_MAX_RETRIES", 0..=100).unwrap_or(0);
    let names = [EXECUTION, INDEX, COUNT];
    if names.iter().all(|name| reader.text(name).is_none()) {
        return None;
    }
    for name in names {
        if reader.text(name).is_none() {
            let remedy = "Cloud Run sets all three for a job; elsewhere set all three or none";
            reader.missing(name, remedy);
        }
    }
    let execution = reader.text(EXECUTION).and_then(|text| match text.parse() {
        Ok(execution) => Some(execution),
        Err(_) => {
            let remedy = "write lower-case letters, digits and hyphens; another name for each execution";
            reader.problem(EXECUTION, &text, "is not the name of an execution", remedy);
            None
        }
    });
    let count = reader.number(COUNT, 1..=MOST_TASKS);
    let index = reader.number(INDEX, 0..=MOST_TASKS - 1);
    let attempt = reader.number("CLOUD_RUN_TASK_ATTEMPT", 0..=MOST_TASKS).unwrap_or(0);
    let (execution, count, index) = (execution?, count?, index?);
    if index >= count {
        let wrong = format!("is not below {COUNT}, which is {count}");
        reader.problem(INDEX, &index.to_string(), wrong, "count the tasks from 0");
        return None;
    }
    Some(Task {
        execution,
        index,
        count,
        attempt,
        max_retries,
    })
}
