//! From figures to places in a plot: linear and logarithmic scales, and where their ticks stand.

/// Values from `least` to `greatest` onto `from` … `to`, which may run backwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    kind: Kind,
    least: f64,
    greatest: f64,
    from: f64,
    to: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    Logarithmic,
}

/// Most decades of a logarithmic scale; a figure below is drawn at its foot.
const DECADES_MAX: i32 = 12;

impl Scale {
    /// From zero to a round number at or above `greatest`.
    pub(super) fn from_zero(greatest: f64, from: f64, to: f64) -> Self {
        let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        let step = nice_step(greatest, 4.0);
        Self { kind: Kind::Linear, least: 0.0, greatest: (greatest / step).ceil() * step, from, to }
    }

    /// Exactly from `least` to `greatest`.
    pub(super) fn exact(least: f64, greatest: f64, from: f64, to: f64) -> Self {
        let greatest = if greatest > least { greatest } else { least + 1.0 };
        Self { kind: Kind::Linear, least, greatest, from, to }
    }

    /// Logarithmic, between round numbers (1, 2 or 5 times a power of ten) around `least` and `greatest`.
    pub(super) fn logarithmic(least: f64, greatest: f64, from: f64, to: f64) -> Self {
        let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        let least = if least.is_finite() && least > 0.0 { least.min(greatest) } else { greatest };
        let least = round_down(least).max(greatest / 10f64.powi(DECADES_MAX));
        let greatest = round_up(greatest).max(least * 2.0);
        Self { kind: Kind::Logarithmic, least, greatest, from, to }
    }

    /// Where a value stands; beyond the ends at the ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.greatest);
        let part = match self.kind {
            Kind::Linear => (value - self.least) / (self.greatest - self.least),
            Kind::Logarithmic => (value / self.least).ln() / (self.greatest / self.least).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// Round numbers, about `count` of them.
    pub(super) fn ticks(&self, count: f64) -> Vec<f64> {
        match self.kind {
            Kind::Linear => {
                let step = nice_step(self.greatest - self.least, count);
                let (first, last) = ((self.least / step).ceil() as i64, (self.greatest / step + 1e-9).floor() as i64);
                (first..=last).take(100).map(|index| index as f64 * step).collect()
            }
            Kind::Logarithmic => self.log_ticks(count),
        }
    }

    fn log_ticks(&self, count: f64) -> Vec<f64> {
        let decades = (self.greatest / self.least).log10();
        let (factors, every) = match decades {
            few if few * 3.0 <= count => (&[1.0, 2.0, 5.0][..], 1),
            many => (&[1.0][..], (many / count).ceil().max(1.0) as usize),
        };
        let (first, last) = (self.least.log10().floor() as i32, self.greatest.log10().ceil() as i32);
        let powers = (first..=last).step_by(every).flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        powers.filter(|tick| (self.least * 0.999..=self.greatest * 1.001).contains(tick)).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that about `count` steps make `range`.
fn nice_step(range: f64, count: f64) -> f64 {
    let rough = (range / count.max(1.0)).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|factor| factor * power).find(|round| *round <= value * 1.001).unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|round| *round >= value * 0.999).unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::from_zero(187_000.0, 0.0, 1.0).ticks(4.0), [0.0, 50_000.0, 100_000.0, 150_000.0, 200_000.0]);
        assert_eq!(Scale::exact(0.0, 34.0, 0.0, 1.0).ticks(8.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        let ticks = Scale::logarithmic(87.0, 1_300_000.0, 0.0, 1.0).ticks(6.0);
        let expected = [100.0, 1e3, 1e4, 1e5, 1e6];
        assert!(ticks.len() == 5 && ticks.iter().zip(expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-9), "{ticks:?}");
    }

    #[test]
    fn places_are_within_the_plot_whatever_the_figures() {
        let wild = [f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 1.0, 1e300, f64::INFINITY];
        for least in wild {
            for greatest in wild {
                let scales = [Scale::logarithmic(least, greatest, 300.0, 20.0), Scale::from_zero(greatest, 300.0, 20.0)];
                for scale in scales {
                    assert!(wild.into_iter().all(|value| (19.9..=300.1).contains(&scale.at(value))), "{scale:?}");
                    assert!(scale.ticks(5.0).len() <= 100);
                }
            }
        }
        let scale = Scale::logarithmic(100.0, 10_000.0, 300.0, 100.0);
        assert!((scale.at(1_000.0) - 200.0).abs() < 1e-9);
    }
}
