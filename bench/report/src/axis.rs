//! An axis of a chart.

/// How values become places.
#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    Linear,
    Log,
}

/// From the lowest value to the highest, and where these are drawn.
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// For these values, drawn from `start` to `end`.
    pub fn new(scale: Scale, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (low, high) = values
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match scale {
            Scale::Linear => (low.min(0.0), high * 1.05),
            Scale::Log => (low * 0.8, high * 1.25),
        };
        Self { scale, low, high, start, end }
    }

    /// Where a value is.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.start + share * (self.end - self.start)
    }

    /// Round values to draw lines at.
    pub fn ticks(&self) -> Vec<f64> {
        let ticks: Vec<f64> = match self.scale {
            Scale::Log => (-3..12).map(|power| 10_f64.powi(power)).collect(),
            Scale::Linear => {
                let rough = (self.high - self.low) / 6.0;
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
                (0..20).map(|at| f64::from(at) * step.unwrap_or(10.0) * power).collect()
            }
        };
        ticks.into_iter().filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// A short text for a value: `64 K` for 64,000.
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " K"),
        v => (v, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
