//! Which process this is, so that another one of the same system can prove that it has ended.
//!
//! A number of a process says nothing elsewhere: on another machine, after a restart of this one, or in another container, whatever
//! its name. So all that it depends on is told with it, and where any of that cannot be read, nothing is told or proven.

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;

/// Linux numbers the first namespace of processes so, and all others higher. What calls itself Linux and has lower numbers, as a
/// sandbox in the place of a kernel, need not keep to the rest of it, either.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A process and what its number depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Of the kernel that runs: another one after each start of the machine.
    boot: String,
    /// The name of the machine or container.
    host: String,
    /// Those of process numbers and of time.
    namespaces: [u64; 2],
    pid: i32,
    /// When it started, in ticks: a number is given again once its process has ended.
    started: u64,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let pid = getpid().as_raw_nonzero().get();
        let stat = Stat::parse(&read("/proc/self/stat")?)?;
        let namespaces = [namespace("pid")?, namespace("time").unwrap_or_default()];
        let this = Self {
            boot: read("/proc/sys/kernel/random/boot_id")?,
            host: read("/proc/sys/kernel/hostname")?,
            namespaces,
            pid,
            started: stat.started,
        };
        // Otherwise /proc is that of other numbers.
        (stat.pid == pid && namespaces[0] >= FIRST_NAMESPACE && !this.boot.is_empty()).then_some(this)
    }

    /// Whether it has ended, as far as that can be proven here.
    pub(crate) fn has_ended(&self) -> bool {
        Self::this().is_some_and(|here| self.is_of_system(&here) && !self.may_live())
    }

    fn is_of_system(&self, other: &Self) -> bool {
        (&self.boot, &self.host, self.namespaces) == (&other.boot, &other.host, other.namespaces)
    }

    fn may_live(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return true;
        };
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return false;
        }
        // One of another user may be hidden.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        let stat = stat.and_then(|text| Stat::parse(&text));
        stat.is_none_or(|stat| stat.pid != self.pid || (stat.started == self.started && !stat.is_dead))
    }
}

/// The number of a namespace of this process: `pid:[4026531836]`.
fn namespace(kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    let number = link.to_str()?.split_once(":[")?.1.strip_suffix(']')?;
    number.parse().ok()
}

/// What `/proc/{pid}/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    /// It has ended, and nobody has asked for its exit code yet.
    is_dead: bool,
    started: u64,
}

impl Stat {
    /// The second field is the name of the program, with whatever it has in it.
    fn parse(text: &str) -> Option<Self> {
        let (pid, _) = text.split_once(" (")?;
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
        // The 22nd of all.
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self {
            pid: pid.parse().ok()?,
            is_dead,
            started,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_line_of_a_process_is_read_whatever_its_program_is_called() {
        let line = |state: &str| {
            format!(
                "4711 (a) b (c) {state} 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 10 18446744073709551615"
            )
        };
        let stat = |is_dead| {
            Some(Stat {
                pid: 4711,
                is_dead,
                started: 987_654,
            })
        };
        assert_eq!(Stat::parse(&line("S")), stat(false));
        assert_eq!(Stat::parse(&line("Z")), stat(true));
        assert_eq!(Stat::parse("4711 (x) S 1"), None);
    }

    #[test]
    fn only_what_has_surely_ended_has_ended() {
        let this = Process::this().unwrap();
        assert!(!this.has_ended());
        // Its number was given again.
        let before = Process {
            started: this.started - 1,
            ..this.clone()
        };
        assert!(before.has_ended());

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let stat = Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()).unwrap();
        let other = Process {
            pid,
            started: stat.started,
            ..this
        };
        assert!(!other.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.has_ended());
        // Nobody here can tell that of a process elsewhere.
        for elsewhere in [
            Process {
                boot: "b".into(),
                ..other.clone()
            },
            Process {
                host: "h".into(),
                ..other.clone()
            },
            Process {
                namespaces: [other.namespaces[0] + 1, other.namespaces[1]],
                ..other.clone()
            },
            Process {
                namespaces: [other.namespaces[0], other.namespaces[1] + 1],
                ..other.clone()
            },
            Process { pid: 0, ..other },
        ] {
            assert!(!elsewhere.has_ended(), "{elsewhere:?}");
        }
    }
}
