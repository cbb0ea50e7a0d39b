//! A JSON number as QEMU echoes it: by its value, which is an `i64`, else a `u64`, else a `double`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How many significant digits a `double` is written with at most.
const DIGITS: i32 = 17;

/// The length of the number that `json` begins with.
pub(super) fn length(json: &str) -> usize {
    let ends = |byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    json.bytes().position(ends).unwrap_or(json.len())
}

/// Appends the number. One beyond the range of a `double` stays as it came: QEMU writes `inf`, which is
/// not JSON.
pub(super) fn push(out: &mut Vec<u8>, token: &str) {
    let integer = token.parse::<i64>().map(|number| format!("{number}"));
    let integer = integer.or_else(|_| token.parse::<u64>().map(|number| format!("{number}")));
    let text = match (integer, token.parse::<f64>()) {
        (Ok(integer), _) => integer,
        (_, Ok(number)) if number.is_finite() => general(number),
        _ => token.into(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// The form of C's `%.17g`.
fn general(number: f64) -> String {
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits = mantissa.trim_start_matches('-').replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let number = match usize::try_from(exponent) {
        _ if !(-4..DIGITS).contains(&exponent) => {
            let (operator, exponent) = (if exponent < 0 { '-' } else { '+' }, exponent.abs());
            format!("{}e{operator}{exponent:02}", with_point(digits, 1))
        }
        Ok(exponent) => with_point(digits, exponent + 1),
        Err(_) => {
            with_point(&format!("{}{digits}", "0".repeat(exponent.unsigned_abs() as usize)), 1)
        }
    };
    format!("{sign}{number}")
}

/// The digits with a decimal point after the first `whole` of them, where more follow.
fn with_point(digits: &str, whole: usize) -> String {
    match digits.split_at_checked(whole) {
        None | Some((_, "")) => format!("{digits:0<whole$}"),
        Some((integer, fraction)) => format!("{integer}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(token: &str) -> String {
        let mut out = Vec::new();
        push(&mut out, token);
        String::from_utf8(out).expect("ASCII")
    }

    /// As QEMU 7.2 echoes them.
    #[test]
    fn numbers_are_echoed_by_value() {
        for (token, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "-0"),
            ("1.0", "1"),
            ("-1.50", "-1.5"),
            ("0.1", "0.10000000000000001"),
            ("1e3", "1000"),
            ("1E+05", "100000"),
            ("1e16", "10000000000000000"),
            ("1e17", "1e+17"),
            ("123456789012345680000.0", "1.2345678901234568e+20"),
            ("1e-4", "0.0001"),
            ("1e-5", "1.0000000000000001e-05"),
            ("1e100", "1e+100"),
            ("5e-324", "4.9406564584124654e-324"),
            ("1e-400", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775809", "-9.2233720368547758e+18"),
            ("1e400", "1e400"),
        ] {
            assert_eq!(written(token), expected);
        }
    }

    #[test]
    fn a_number_ends_before_what_follows_it() {
        for (json, expected) in [("-1.5e+3,2", 7), ("12]", 2), ("0", 1), ("7 8", 1)] {
            assert_eq!(length(json), expected);
        }
    }
}
