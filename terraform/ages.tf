# When a backup is too old: by the schedule, unless said otherwise. An alert after 26 hours is asleep beside hourly backups, and cries
# wolf beside weekly ones.

locals {
  schedules = { backup = var.schedule.backup, verify = var.schedule.verify == "never" ? null : var.schedule.verify }

  # Minute, hour, day of month, month, day of week.
  cron = { for name, schedule in local.schedules : name => regexall("[^ \t]+", schedule) if schedule != null }

  # Hours between two turns of one day, or over midnight: of "*", "*/6", "9-17", "2,14" and "2"; of anything else a whole day.
  listed_hours = { for name, cron in local.cron : name => try([for hour in split(",", cron[1]) : tonumber(hour)], []) }
  turn_of_day = {
    for name, cron in local.cron : name => cron[1] == "*" ? 1 : try(
      tonumber(regex("^\\*/([0-9]+)$", cron[1])[0]),
      24 - (tonumber(regex("^([0-9]+)-([0-9]+)$", cron[1])[1]) - tonumber(regex("^([0-9]+)-([0-9]+)$", cron[1])[0])),
      max([for i, hour in local.listed_hours[name] : try(local.listed_hours[name][i + 1], local.listed_hours[name][0] + 24) - hour]...),
      24,
    )
  }
  # Days between two days with a turn: every one, every working day, some of the week, some of the month.
  turn_of_days = {
    for name, cron in local.cron : name =>
    cron[3] != "*" ? 366 :
    cron[2] == "*" && cron[4] == "*" ? 1 :
    cron[2] == "*" && contains(["1-5", "MON-FRI"], upper(cron[4])) ? 3 :
    cron[4] != "*" ? 7 : 31
  }
  # Hours from one turn to the next, at most.
  turn_hours = { for name, days in local.turn_of_days : name => (days - 1) * 24 + local.turn_of_day[name] }

  # Two turns, and the time that a run takes: one that fails is no emergency yet, two are. After two weeks one is enough.
  ages = { for name, turn in local.turn_hours : name => turn < 24 ? 2 * turn + 1 : turn <= 336 ? 2 * turn + 2 : turn + 48 }

  backup_max_age_hours   = coalesce(var.alerts.backup_max_age_hours, local.ages.backup)
  verified_max_age_hours = coalesce(var.alerts.verified_max_age_hours, try(local.ages.verify, 50))

  # Of that, the hours that a first apply has until the first turn, while there can be nothing yet. Less than a day: Cloud Monitoring
  # does not wait longer for an alert to be true.
  backup_grace_hours   = min(local.turn_hours.backup, 23, local.backup_max_age_hours - 1)
  verified_grace_hours = min(try(local.turn_hours.verify, 23), 23, local.verified_max_age_hours - 1)
}
