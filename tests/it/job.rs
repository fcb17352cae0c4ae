//! One backup made by the tasks of a job: eight processes of the shipped binary, some killed and tried again, in both stores.

mod bench;
mod crashes;
mod failures;
mod races;
mod records;
mod runs;
mod signals;
