//! Dates and times between their ISO 8601 text and the numbers that Java keeps of them.
//!
//! ```text
//!  2024-05-06T07:08:09.123456789+08:00[Asia/Shanghai]
//!  └─ Date ──┘└─ Time ─────────┘└ offset └ zone
//! ```
//!
//! Written as Java's ISO formats have it: seconds always, a fraction of 3, 6 or 9 digits if there is one, `Z` for no offset, a sign
//! in front of years that have more or less than four digits. Nothing here overflows: years fill an int, as in Java.

use std::fmt;

/// A day of the calendar that ISO 8601 has for all times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nano: i64,
}

pub(super) const DAY: i64 = 86_400;

/// Java's years end there, in both directions.
const MOST_YEAR: i64 = 999_999_999;

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    pub(super) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let good = year.abs() <= MOST_YEAR && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        good.then_some(Self { year, month, day })
    }

    /// The day so many days after 1970-01-01. Counting in eras of 400 years, which all have the same number of days, from March
    /// on, so that the leap day is the last of its year.
    pub(super) fn of_days(days: i64) -> Self {
        let shifted = days.saturating_add(719_468);
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// Days after 1970-01-01.
    pub(super) fn days(&self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month + 9) % 12;
        let day_of_year = (153 * from_march + 2) / 5 + self.day - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        year(f, self.year)?;
        write!(f, "-{:02}-{:02}", self.month, self.day)
    }
}

fn year(f: &mut impl fmt::Write, year: i64) -> fmt::Result {
    match year {
        0..=9999 => write!(f, "{year:04}"),
        10_000.. => write!(f, "+{year}"),
        _ => write!(f, "-{:04}", year.unsigned_abs()),
    }
}

/// The text of a year and a month.
pub(super) fn year_month_text(of_year: i64, month: i64) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = year(&mut text, of_year);
    format!("{text}-{month:02}")
}

impl Time {
    pub(super) fn new(hour: i64, minute: i64, second: i64, nano: i64) -> Option<Self> {
        let good = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..1_000_000_000).contains(&nano);
        good.then_some(Self {
            hour,
            minute,
            second,
            nano,
        })
    }

    pub(super) fn of_seconds(seconds: i64, nano: i64) -> Self {
        let seconds = seconds.rem_euclid(DAY);
        Self {
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            nano,
        }
    }

    pub(super) fn seconds(&self) -> i64 {
        self.hour * 3600 + self.minute * 60 + self.second
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        match self.nano {
            0 => Ok(()),
            nano if nano % 1_000_000 == 0 => write!(f, ".{:03}", nano / 1_000_000),
            nano if nano % 1000 == 0 => write!(f, ".{:06}", nano / 1000),
            nano => write!(f, ".{nano:09}"),
        }
    }
}

/// A moment as text in UTC.
pub(super) fn instant_text(seconds: i64, nano: i64) -> String {
    let (date, time) = (Date::of_days(seconds.div_euclid(DAY)), Time::of_seconds(seconds, nano));
    format!("{date}T{time}Z")
}

/// A moment of java.util.Date as text.
pub(super) fn millis_text(millis: i64) -> String {
    instant_text(millis.div_euclid(1000), millis.rem_euclid(1000) * 1_000_000)
}

/// An offset in seconds as text: `Z`, `+08:00`, `-03:30:15`.
pub(super) fn offset_text(offset: i64) -> String {
    let (sign, rest) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    match (rest / 3600, rest / 60 % 60, rest % 60) {
        (0, 0, 0) => "Z".to_owned(),
        (hours, minutes, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        (hours, minutes, seconds) => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// A length of time as text, as `Duration.toString` has it.
pub(super) fn duration_text(seconds: i64, nanos: i64) -> String {
    if (seconds, nanos) == (0, 0) {
        return "PT0S".to_owned();
    }
    // Java counts up from the lower second; the text counts away from zero.
    let whole = if seconds < 0 && nanos > 0 { seconds + 1 } else { seconds };
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    let mut text = "PT".to_owned();
    if hours != 0 {
        text.push_str(&format!("{hours}H"));
    }
    if minutes != 0 {
        text.push_str(&format!("{minutes}M"));
    }
    if rest == 0 && nanos == 0 {
        return text;
    }
    let fraction = if seconds < 0 && nanos > 0 {
        1_000_000_000 - nanos
    } else {
        nanos
    };
    let sign = if seconds < 0 && nanos > 0 && rest == 0 { "-" } else { "" };
    text.push_str(&format!("{sign}{rest}"));
    if fraction > 0 {
        text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    text.push('S');
    text
}

/// A period as text, as `Period.toString` has it.
pub(super) fn period_text(years: i64, months: i64, days: i64) -> String {
    let mut text = "P".to_owned();
    for (count, unit) in [(years, 'Y'), (months, 'M'), (days, 'D')] {
        if count != 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.len() == 1 { "P0D".to_owned() } else { text }
}

/// Reads text from left to right; every reading that is not `None` has moved on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What was read, if it was all there is.
    pub(super) fn whole<T>(self, read: T) -> Option<T> {
        self.rest.is_empty().then_some(read)
    }

    pub(super) fn taken(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: char) -> Option<()> {
        self.taken(sign).then_some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<(i64, usize)> {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some((digits.parse().ok()?, count))
    }

    fn two(&mut self) -> Option<i64> {
        self.digits(2, 2).map(|(value, _)| value)
    }

    /// A year, which has a sign if it has not four digits.
    pub(super) fn year(&mut self) -> Option<i64> {
        let (minus, plus) = (self.taken('-'), self.taken('+'));
        let most = if minus || plus { 9 } else { 4 };
        let (year, _) = self.digits(4, most)?;
        Some(if minus { -year } else { year })
    }

    pub(super) fn year_month(&mut self) -> Option<(i64, i64)> {
        let year = self.year()?;
        self.expect('-')?;
        let month = self.two().filter(|month| (1..=12).contains(month))?;
        Some((year, month))
    }

    pub(super) fn month_day(&mut self) -> Option<(i64, i64)> {
        self.expect('-')?;
        self.expect('-')?;
        let month = self.two()?;
        self.expect('-')?;
        let day = self.two()?;
        // A leap year, so that the 29th of February is one.
        Date::new(2000, month, day).map(|_| (month, day))
    }

    pub(super) fn date(&mut self) -> Option<Date> {
        let (year, month) = self.year_month()?;
        self.expect('-')?;
        Date::new(year, month, self.two()?)
    }

    pub(super) fn time(&mut self) -> Option<Time> {
        let hour = self.two()?;
        self.expect(':')?;
        let minute = self.two()?;
        let (mut second, mut nano) = (0, 0);
        if self.taken(':') {
            second = self.two()?;
            if self.taken('.') {
                let (digits, count) = self.digits(1, 9)?;
                nano = digits * 10i64.pow(9 - u32::try_from(count).ok()?);
            }
        }
        Time::new(hour, minute, second, nano)
    }

    /// A date and a time, with `T` or a space between.
    pub(super) fn date_time(&mut self) -> Option<(Date, Time)> {
        let date = self.date()?;
        if !self.taken('T') {
            self.expect(' ')?;
        }
        Some((date, self.time()?))
    }

    pub(super) fn offset(&mut self) -> Option<i64> {
        if self.taken('Z') {
            return Some(0);
        }
        let minus = self.taken('-');
        if !minus {
            self.expect('+')?;
        }
        let hours = self.two()?;
        let minutes = if self.taken(':') { self.two()? } else { 0 };
        let seconds = if self.taken(':') { self.two()? } else { 0 };
        let offset = hours * 3600 + minutes * 60 + seconds;
        // Java's offsets end there.
        (offset <= 18 * 3600 && minutes < 60 && seconds < 60).then_some(if minus { -offset } else { offset })
    }

    /// The name of a zone in brackets.
    pub(super) fn zone(&mut self) -> Option<&'a str> {
        let (name, rest) = self.rest.strip_prefix('[')?.split_once(']')?;
        self.rest = rest;
        is_zone(name).then_some(name)
    }

    /// A count with a sign and the letter of its unit.
    fn count(&mut self, unit: char) -> Option<i64> {
        let mut ahead = *self;
        let minus = ahead.taken('-');
        if !minus {
            ahead.taken('+');
        }
        let (count, _) = ahead.digits(1, 18)?;
        ahead.expect(unit)?;
        *self = ahead;
        Some(if minus { -count } else { count })
    }

    /// Seconds and nanoseconds of `P2DT3H4M5.6S`.
    pub(super) fn duration(&mut self) -> Option<(i64, i64)> {
        self.expect('P')?;
        let mut total: i128 = 0;
        let mut parts = 0;
        let mut add = |count: Option<i64>, seconds: i128| {
            parts += usize::from(count.is_some());
            total += i128::from(count.unwrap_or(0)) * seconds * 1_000_000_000;
        };
        add(self.count('D'), 86_400);
        if self.taken('T') {
            add(self.count('H'), 3600);
            add(self.count('M'), 60);
            if !self.rest.is_empty() {
                let minus = self.taken('-');
                let (seconds, _) = self.digits(1, 18)?;
                let mut nanos = i128::from(seconds) * 1_000_000_000;
                if self.taken('.') {
                    let (digits, count) = self.digits(1, 9)?;
                    nanos += i128::from(digits) * 10i128.pow(9 - u32::try_from(count).ok()?);
                }
                self.expect('S')?;
                parts += 1;
                total += if minus { -nanos } else { nanos };
            }
        }
        let seconds = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
        let nanos = i64::try_from(total.rem_euclid(1_000_000_000)).ok()?;
        (parts > 0).then_some((seconds, nanos))
    }

    /// Years, months and days of `P1Y2M3D`.
    pub(super) fn period(&mut self) -> Option<(i64, i64, i64)> {
        self.expect('P')?;
        let (years, months, days) = (self.count('Y'), self.count('M'), self.count('D'));
        years.or(months).or(days)?;
        Some((years.unwrap_or(0), months.unwrap_or(0), days.unwrap_or(0)))
    }
}

/// Whether a zone may have that name: `Europe/Zurich`, `UTC+8`, `+08:00`. Which there are only Java knows.
pub(super) fn is_zone(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+' | b':' | b'.' | b'~');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)
}

/// The moment that text names, as seconds and nanoseconds: ISO 8601 with an offset, or without one in UTC, or a date alone.
pub(super) fn moment(text: &str) -> Option<(i64, i64)> {
    let mut scan = Scan::new(text);
    let (date, time, offset) = match scan.date_time() {
        Some((date, time)) => (date, time, if scan.rest.is_empty() { 0 } else { scan.offset()? }),
        None => {
            scan = Scan::new(text);
            (scan.date()?, Time::of_seconds(0, 0), 0)
        }
    };
    scan.whole((date.days() * DAY + time.seconds() - offset, time.nano))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_java_writes_them() {
        for (seconds, nano, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_000_000, "1969-12-31T23:59:59.999Z"),
            (951_782_400, 1000, "2000-02-29T00:00:00.000001Z"),
            (253_402_300_800, 0, "+10000-01-01T00:00:00Z"),
            (-62_167_219_201, 0, "-0001-12-31T23:59:59Z"),
        ] {
            assert_eq!(instant_text(seconds, nano), text);
            assert_eq!(moment(text), Some((seconds, nano)), "{text}");
        }
        assert_eq!(millis_text(i64::MAX), "+292278994-08-17T07:12:55.807Z");
        assert_eq!(millis_text(i64::MIN), "-292275055-05-16T16:47:04.192Z");
        assert_eq!(moment("2024-05-06 07:08:09"), moment("2024-05-06T07:08:09Z"));
        assert_eq!(moment("2024-05-06T15:08+08:00"), moment("2024-05-06T07:08:00Z"));
        assert_eq!(moment("2024-05-06"), moment("2024-05-06T00:00:00Z"));
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-05-06T24:00:00Z",
            "2024-05-06Z",
            "now",
            "é",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_are_written_as_java_writes_them() {
        for (seconds, nanos, text) in [
            (0, 0, "PT0S"),
            (3661, 500_000_000, "PT1H1M1.5S"),
            (-1, 500_000_000, "PT-0.5S"),
            (-2, 500_000_000, "PT-1.5S"),
            (-60, 0, "PT-1M"),
            (172_800, 0, "PT48H"),
        ] {
            assert_eq!(duration_text(seconds, nanos), text);
            let mut scan = Scan::new(text);
            assert_eq!(scan.duration(), Some((seconds, nanos)), "{text}");
        }
        assert_eq!(Scan::new("P2DT1M").duration(), Some((172_860, 0)));
        assert_eq!(Scan::new("PT").duration(), None);
        assert_eq!(period_text(1, -2, 3), "P1Y-2M3D");
        assert_eq!(Scan::new("P1Y-2M3D").period(), Some((1, -2, 3)));
        assert_eq!(Scan::new("P").period(), None);
    }

    proptest! {
        #[test]
        fn every_day_and_every_length_comes_back(days in -365_000_000_000i64..365_000_000_000, seconds: i64, nanos in 0i64..1_000_000_000) {
            let date = Date::of_days(days);
            prop_assert_eq!(date.days(), days);
            prop_assert_eq!(Scan::new(&date.to_string()).date(), Some(date));
            if seconds.unsigned_abs() < 3_000_000_000_000_000 {
                prop_assert_eq!(Scan::new(&duration_text(seconds, nanos)).duration(), Some((seconds, nanos)));
            }
            instant_text(seconds, nanos);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            moment(&text);
            let mut scan = Scan::new(&text);
            let _ = (scan.duration(), scan.period(), scan.zone(), scan.offset());
        }
    }
}
