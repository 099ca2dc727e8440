//! Lengths of time, as in `30s`, `500ms` and `1h30m`.

use super::Mistake;
use std::time::Duration;

/// From the longest; milliseconds in each.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// More than a year is taken for a slip.
const MOST: u64 = 366 * 86_400_000;

const HOW: &str =
    r#"write numbers with their units, the longest first: "30s", "500ms", "2m", "1h30m" (d, h, m, s and ms)"#;

pub(super) fn parse(text: &str) -> Result<Duration, Mistake> {
    let wrong = |what: String| Err(Mistake::of(what, HOW));
    if text.is_empty() {
        return wrong("this is empty, and must be a length of time".into());
    }
    if text.starts_with('-') {
        return wrong(format!("{text:?} is negative, and a length of time cannot be"));
    }
    let (mut rest, mut total, mut smallest) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, next) = piece(rest);
        if number.is_empty() {
            return wrong(format!("{text:?} is no length of time"));
        }
        if unit.is_empty() && next.is_empty() {
            let help = format!(r#"write "{text}s" for seconds, "{text}ms" for milliseconds"#);
            return Err(Mistake::of(format!("{text:?} has no unit"), if text == number { &help } else { HOW }));
        }
        let Some(&(_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            if next.starts_with(['.', ',']) {
                return Err(Mistake::of(format!("{text:?} has a fraction"), r#"write "1500ms" for 1.5 seconds"#));
            }
            return match spelt_out(unit) {
                Some(short) => Err(Mistake::of(
                    format!("{text:?} has the unit {:?}, which is written {short:?}", unit.trim()),
                    format!("write \"{number}{short}\""),
                )),
                None if unit.trim().is_empty() => wrong(format!("{text:?} is no length of time")),
                None => wrong(format!("{text:?} has the unit {:?}, which there is not", unit.trim())),
            };
        };
        if milliseconds >= smallest {
            return wrong(format!("{text:?} has its units in a wrong order"));
        }
        let sum = number.parse().ok().and_then(|n: u64| n.checked_mul(milliseconds)?.checked_add(total));
        match sum {
            Some(sum) if sum <= MOST => total = sum,
            _ => return Err(Mistake::of(format!("{text:?} is too long"), "a year, which is \"366d\", is the most")),
        }
        (rest, smallest) = (next, milliseconds);
    }
    Ok(Duration::from_millis(total))
}

/// The digits in front, the letters after them, and what comes then. Spaces between number and unit count to neither.
fn piece(text: &str) -> (&str, &str, &str) {
    let cut = |text: &str, end: fn(char) -> bool| text.find(end).unwrap_or(text.len());
    let (number, rest) = text.split_at(cut(text, |c| !c.is_ascii_digit()));
    let words = rest.trim_start();
    let letters = cut(words, |c| !c.is_alphabetic());
    let (unit, next) = words.split_at(letters);
    // "30 s": only the words that `spelt_out` knows, and units, are understood behind a space, to say what is right.
    if rest.len() == words.len() {
        (number, unit, next)
    } else {
        (number, rest.split_at(rest.len() - next.len()).0, next)
    }
}

fn spelt_out(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    })
}

/// As [`parse`] reads it.
#[cfg(test)]
pub(super) fn written(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        let count = rest / u128::from(milliseconds);
        rest %= u128::from(milliseconds);
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones() {
        let cases = [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("007s", 7000),
            ("366d", MOST),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn bad_ones_say_why() {
        let cases = [
            ("", "this is empty, and must be a length of time"),
            ("-5s", "\"-5s\" is negative, and a length of time cannot be"),
            ("5", "\"5\" has no unit"),
            ("1h30", "\"1h30\" has no unit"),
            ("s", "\"s\" is no length of time"),
            ("+5s", "\"+5s\" is no length of time"),
            ("5 ", "\"5 \" is no length of time"),
            ("5 s", "\"5 s\" has the unit \"s\", which is written \"s\""),
            ("30 seconds", "\"30 seconds\" has the unit \"seconds\", which is written \"s\""),
            ("5min", "\"5min\" has the unit \"min\", which is written \"m\""),
            ("5S", "\"5S\" has the unit \"S\", which is written \"s\""),
            ("5us", "\"5us\" has the unit \"us\", which there is not"),
            ("1.5s", "\"1.5s\" has a fraction"),
            ("30m1h", "\"30m1h\" has its units in a wrong order"),
            ("1s1s", "\"1s1s\" has its units in a wrong order"),
            ("5s!", "\"5s!\" is no length of time"),
            ("5!s", "\"5!s\" is no length of time"),
            ("367d", "\"367d\" is too long"),
            ("99999999999999999999s", "\"99999999999999999999s\" is too long"),
            ("forever", "\"forever\" is no length of time"),
            ("٣s", "\"٣s\" is no length of time"),
        ];
        for (text, why) in cases {
            assert_eq!(parse(text).expect_err(text).what, why);
        }
    }
}
