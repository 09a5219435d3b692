//! Numbers as people read them: three significant digits and a unit.
//!
//! Absent: rounding of what is written for programs; JSON and CSV carry every digit.

use crate::spread::Spread;

/// A latency from µs: `640 µs`, `1.25 ms`, `12.0 s`.
pub(super) fn latency(us: f64) -> String {
    let (scaled, unit) = in_unit(us);
    format!("{} {unit}", significant(scaled))
}

/// A round latency on an axis: `500 µs`, `1 ms`, `10 s`.
pub(super) fn latency_tick(us: f64) -> String {
    let (scaled, unit) = in_unit(us);
    format!("{} {unit}", tick(scaled))
}

/// A latency's range, with one unit where both ends have the same: `610–700 µs`.
pub(super) fn latency_range(min_us: f64, max_us: f64) -> String {
    let ((min, min_unit), (max, max_unit)) = (in_unit(min_us), in_unit(max_us));
    if min_unit == max_unit {
        return format!("{}–{} {max_unit}", significant(min), significant(max));
    }
    format!("{} {min_unit}–{} {max_unit}", significant(min), significant(max))
}

fn in_unit(us: f64) -> (f64, &'static str) {
    match us.abs() {
        // The bounds are where three digits round up to the next unit.
        us_abs if us_abs < 999.5 => (us, "µs"),
        us_abs if us_abs < 999_500.0 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    }
}

/// A number of things or a rate: `950`, `19 998`, `1.20 M`.
pub(super) fn count(number: f64) -> String {
    match number.abs() {
        abs if abs < 100.0 && number.fract() != 0.0 => significant(number),
        abs if abs < 999_999.5 => grouped(number),
        abs if abs < 999.5e6 => format!("{} M", significant(number / 1e6)),
        _ => format!("{} G", significant(number / 1e9)),
    }
}

/// A short form for the ticks of an axis: `20k`, `1.5M`.
pub(super) fn tick(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        abs if abs < 1e3 => (number, ""),
        abs if abs < 1e6 => (number / 1e3, "k"),
        abs if abs < 1e9 => (number / 1e6, "M"),
        _ => (number / 1e9, "G"),
    };
    // Ticks are round numbers: what is beyond three decimals is noise of the arithmetic.
    let text = format!("{scaled:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// How many times the yardstick: `1.32×`.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{}×", significant(ratio))
}

/// `12 %`, `3.4 %`.
pub(super) fn per_cent(part: f64) -> String {
    let per_cent = part * 100.0;
    if per_cent.abs() < 9.95 { format!("{per_cent:.1} %") } else { format!("{per_cent:.0} %") }
}

/// A spread's range alone.
pub(super) fn range(spread: Spread) -> String {
    format!("{}–{}", significant(spread.min), significant(spread.max))
}

/// Three significant digits, no exponent; whole where there are more before the point.
pub(super) fn significant(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        abs if abs < 0.000_95 => format!("{number:.5}"),
        abs if abs < 0.095 => format!("{number:.3}"),
        abs if abs < 9.995 => format!("{number:.2}"),
        abs if abs < 99.95 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// A whole number with a narrow gap between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0.0 && digits != "0" { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_has_three_digits_and_the_unit_that_fits() {
        let expected = [
            (0.0, "0 µs"),
            (0.9, "0.90 µs"),
            (95.25, "95.2 µs"),
            (640.4, "640 µs"),
            (999.6, "1.00 ms"),
            (12_345.0, "12.3 ms"),
            (999_600.0, "1.00 s"),
            (3_600e6, "3600 s"),
        ];
        for (us, text) in expected {
            assert_eq!(latency(us), text, "{us}");
        }
        assert_eq!([500.0, 1e3, 1e7].map(latency_tick), ["500 µs", "1 ms", "10 s"]);
        assert_eq!(latency_range(610.0, 700.0), "610–700 µs");
        assert_eq!(latency_range(610.0, 1700.0), "610 µs–1.70 ms");
    }

    #[test]
    fn counts_ticks_and_ratios() {
        assert_eq!([0.0, 0.5, 950.0, 9999.0, 1.2e6].map(count), ["0", "0.50", "950", "9999", "1.20 M"]);
        assert_eq!(count(19_998.4), "19\u{202f}998");
        assert_eq!([0.0, 0.2, 500.0, 20_000.0, 1.5e6, 2e9].map(tick), ["0", "0.2", "500", "20k", "1.5M", "2G"]);
        assert_eq!((ratio(1.316).as_str(), ratio(41.0).as_str()), ("1.32×", "41.0×"));
        assert_eq!((per_cent(0.21).as_str(), per_cent(0.034).as_str()), ("21 %", "3.4 %"));
    }
}
