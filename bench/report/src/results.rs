//! What was measured, as it was written down.

use std::{fs, io};

use serde::Deserialize;

/// A figure of the table.
#[derive(Debug, Deserialize)]
pub struct Figure {
    pub row: String,
    /// `ours …`, `limit …` or `peer …`.
    pub what: String,
    pub value: f64,
    pub unit: String,
    /// What `value` may be at most.
    pub goal: Option<f64>,
    /// What it is beside a limit, measured in pairs.
    pub ratio: Option<f64>,
    /// What `ratio` may be at most.
    pub ratio_goal: Option<f64>,
    /// The limit that it is beside.
    pub beside: Option<String>,
    /// What the figure is made of.
    pub note: Option<String>,
}

/// A point of a curve.
#[derive(Debug, Deserialize)]
pub struct Point {
    pub plot: String,
    pub series: String,
    pub x: f64,
    pub y: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Figure(Figure),
    Point(Point),
}

/// All of it, in the order in which it was measured.
#[derive(Default)]
pub struct Results {
    pub figures: Vec<Figure>,
    pub points: Vec<Point>,
}

impl Results {
    pub fn read(files: &[String]) -> io::Result<Self> {
        let mut results = Self::default();
        for file in files {
            // What was not measured is left out.
            let Ok(text) = fs::read_to_string(file) else { continue };
            for line in text.lines() {
                match serde_json::from_str(line)? {
                    Line::Figure(figure) => results.figures.push(figure),
                    Line::Point(point) => results.points.push(point),
                }
            }
        }
        Ok(results)
    }

    /// The names of the rows, each once.
    pub fn rows(&self) -> Vec<&str> {
        let mut rows: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !rows.contains(&figure.row.as_str()) {
                rows.push(&figure.row);
            }
        }
        rows
    }

    /// The lowest of a kind in a row.
    pub fn best<'a>(&'a self, row: &'a str, kind: &str) -> Option<&'a Figure> {
        let those = self.of(row).filter(|figure| figure.what.starts_with(kind));
        those.min_by(|one, other| one.value.total_cmp(&other.value))
    }

    /// The figures of a row.
    pub fn of<'a>(&'a self, row: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |figure| figure.row == row)
    }
}

impl Figure {
    pub fn is_ours(&self) -> bool {
        self.what.starts_with("ours")
    }

    /// Whether the goal is reached; `None` where there is none.
    pub fn is_met(&self) -> Option<bool> {
        match (self.goal, self.ratio.zip(self.ratio_goal)) {
            (Some(goal), _) => Some(rounded(self.value) <= goal),
            (None, Some((ratio, goal))) => Some(rounded(ratio) <= goal),
            (None, None) => None,
        }
    }
}

/// To what is shown: nobody is told that 1.10 is more than 1.10.
fn rounded(value: f64) -> f64 {
    number(value).replace(',', "").parse().unwrap_or(value)
}

/// Three digits that matter, and thousands apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit != '-' && (whole.len() - at) % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}
