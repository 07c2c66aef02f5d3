//! Points in time and durations as Kafka's tools read them from the command line.

use std::time::{SystemTime, UNIX_EPOCH};

/// In milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(now_ms).unwrap_or(i64::MAX)
}

/// Kafka's `Utils.getDateTime`: `YYYY-MM-DDTHH:mm:SS.sss`, with a zone or without (UTC). In milliseconds
/// since 1970. The error is the message of Java's `ParseException`.
pub(super) fn parse_datetime(text: &str) -> Result<i64, String> {
    let Some((_, time)) = text.split_once('T').filter(|(_, time)| !time.is_empty()) else {
        return Err("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".into());
    };
    let time = time.split('T').next().unwrap_or_default();
    let text = match time.contains(['+', '-', 'Z']) {
        true => text.to_owned(),
        false => format!("{text}Z"),
    };
    read_datetime(&text).ok_or_else(|| format!("Unparseable date: \"{text}\""))
}

fn read_datetime(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = number(&mut rest, "-")?;
    let month = number(&mut rest, "-")?;
    let day = number(&mut rest, "T")?;
    let hour = number(&mut rest, ":")?;
    let minute = number(&mut rest, ":")?;
    let second = number(&mut rest, ".")?;
    let millis = number(&mut rest, "")?;
    let is_date = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 || millis > 999 {
        return None;
    }
    let offset_minutes = zone(rest)?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

/// Digits, then what follows them.
fn number(rest: &mut &str, then: &str) -> Option<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    // More digits than any field needs are no date.
    let digits = rest.get(..end).filter(|digits| !digits.is_empty() && digits.len() <= 9)?;
    *rest = rest.get(end..)?.strip_prefix(then)?;
    digits.parse().ok()
}

/// `Z`, `+HH:mm`, or `+HH`, after which Java looks no further. In minutes east of UTC.
fn zone(text: &str) -> Option<i64> {
    if text.starts_with('Z') {
        return Some(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let two_digits = |from: usize| {
        let digits = text.get(from..from + 2)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let hours = two_digits(1).filter(|hours| *hours < 24)?;
    let minutes = match text.get(3..4) {
        Some(":") => two_digits(4).filter(|minutes| *minutes < 60).unwrap_or(0),
        _ => 0,
    };
    Some(sign * (hours * 60 + minutes))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the Gregorian calendar, before its introduction too.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let full_years = year - 1;
    let leap_days = full_years.div_euclid(4) - full_years.div_euclid(100) + full_years.div_euclid(400);
    let days_before_year = full_years * 365 + leap_days;
    let days_before_month: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    days_before_year + days_before_month + day - 1 - 719_162
}

/// `2026-11-21 23:41:15,504`.
pub(super) fn format_utc(time_ms: i64) -> String {
    let (days, rest_ms) = (time_ms.div_euclid(86_400_000), time_ms.rem_euclid(86_400_000));
    // Of the 400 years after which the calendar repeats.
    let mut year = 1970 + days.div_euclid(146_097) * 400;
    let mut day = days.rem_euclid(146_097);
    let length = |year| if is_leap(year) { 366 } else { 365 };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let mut month = 1;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    let (seconds, millis) = (rest_ms / 1000, rest_ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02},{millis:03}", day + 1)
}

/// Java's `Duration.parse`: `PnDTnHnMnS`, in milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = signed(&upper);
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut millis: i64 = 0;
    if !days.is_empty() {
        millis = amount(days.strip_suffix('D')?)?.checked_mul(86_400_000)?;
    }
    let mut rest = time;
    for (unit, unit_millis) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((count, after)) = rest.split_once(unit) {
            millis = millis.checked_add(amount(count)?.checked_mul(unit_millis)?)?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        millis = millis.checked_add(seconds(rest.strip_suffix('S')?)?)?;
    }
    millis.checked_mul(sign)
}

fn signed(text: &str) -> (i64, &str) {
    match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (-1, rest),
        (None, Some(rest)) => (1, rest),
        (None, None) => (1, text),
    }
}

fn amount(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse::<i64>().ok()?.checked_mul(sign) } else { None }
}

fn seconds(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    amount(whole)?.checked_mul(1000)?.checked_add(thousandths.parse().ok()?)?.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_are_read_with_and_without_zone() {
        assert_eq!(parse_datetime("1970-01-01T00:00:00.000"), Ok(0));
        assert_eq!(parse_datetime("2020-01-01T00:00:00.000"), Ok(1_577_836_800_000));
        assert_eq!(parse_datetime("2020-02-29T12:30:15.5Z"), Ok(1_582_979_415_005));
        assert_eq!(parse_datetime("2020-01-01T02:00:00.000+02:00"), Ok(1_577_836_800_000));
        assert_eq!(parse_datetime("2019-12-31T22:00:00.000-0230"), Ok(1_577_836_800_000));
        assert_eq!(parse_datetime("1969-12-31T23:59:59.999"), Ok(-1));
        assert_eq!(parse_datetime("2000-03-01T00:00:00.000Z"), Ok(951_868_800_000));
    }

    #[test]
    fn wrong_datetimes_are_named_in_javas_words() {
        let error = |text: &str| parse_datetime(text).unwrap_err();
        let no_time = "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format";
        assert_eq!(error("yesterday"), no_time);
        assert_eq!(error("2020-01-01T"), no_time);
        assert_eq!(error("2020-01-01T00:00:00"), "Unparseable date: \"2020-01-01T00:00:00Z\"");
        for wrong in ["2020-13-01T00:00:00.000", "2019-02-29T00:00:00.000", "2020-01-01T24:00:00.000"] {
            assert_eq!(error(wrong), format!("Unparseable date: \"{wrong}Z\""));
        }
        assert_eq!(error("2020-01-01T00:00:00.000+x"), "Unparseable date: \"2020-01-01T00:00:00.000+x\"");
    }

    #[test]
    fn durations_are_read_as_java_does() {
        assert_eq!(parse_duration("P1D"), Some(86_400_000));
        assert_eq!(parse_duration("PT0S"), Some(0));
        assert_eq!(parse_duration("p1dt2h3m4.5s"), Some(93_784_500));
        assert_eq!(parse_duration("-PT1H"), Some(-3_600_000));
        assert_eq!(parse_duration("PT-1M"), Some(-60_000));
        for wrong in ["1d", "P", "PT", "P1DT", "PT1", "P1H", "PT1S1M", "P99999999999999999999D"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for time_ms in [0, -1, 951_782_400_000, 1_582_979_415_005, 4_102_444_799_999] {
            let text = format_utc(time_ms).replace(' ', "T").replace(',', ".");
            assert_eq!(parse_datetime(&text), Ok(time_ms), "{text}");
        }
    }
}
