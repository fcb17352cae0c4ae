//! What is called a backup can be restored, and what is written can be read again.

mod check;
mod custom_sharding;
mod limits;
mod older_backups;
