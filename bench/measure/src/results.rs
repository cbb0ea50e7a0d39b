//! What is written down.

use serde::Serialize;

use crate::clients::Client;

/// A figure of the table.
#[derive(Serialize)]
pub struct Row<'a> {
    row: &'a str,
    what: &'a str,
    value: f64,
    unit: &'a str,
    /// What `value` may be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<f64>,
    /// What it is beside a limit, if that was measured in pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// What `ratio` may be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_goal: Option<f64>,
    /// The limit that it is beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<&'a str>,
    /// What the figure is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A point of a curve.
#[derive(Serialize)]
pub struct Point<'a> {
    pub plot: &'a str,
    pub series: &'a str,
    pub x: f64,
    pub y: f64,
}

impl<'a> Row<'a> {
    pub fn new(row: &'a str, client: Client, value: f64, unit: &'a str) -> Self {
        Self::of(row, client.what, value, unit)
    }

    pub fn of(row: &'a str, what: &'a str, value: f64, unit: &'a str) -> Self {
        let (goal, ratio, ratio_goal, beside, note) = (None, None, None, None, None);
        Self { row, what, value, unit, goal, ratio, ratio_goal, beside, note }
    }

    /// What it may be at most, for ours.
    pub fn goal(mut self, goal: f64) -> Self {
        self.goal = self.is_ours().then_some(goal);
        self
    }

    pub fn beside(mut self, limit: Client, ratio: f64) -> Self {
        (self.beside, self.ratio) = (Some(limit.what), Some(ratio));
        self
    }

    /// What it may be beside the limit at most, for ours.
    pub fn ratio_goal(mut self, goal: Option<f64>) -> Self {
        self.ratio_goal = goal.filter(|_| self.is_ours());
        self
    }

    pub fn note(mut self, note: String) -> Self {
        self.note = Some(note);
        self
    }

    pub fn write(&self) {
        write(self);
    }

    pub fn is_of(&self, client: Client) -> bool {
        self.what == client.what
    }

    fn is_ours(&self) -> bool {
        self.what.starts_with("ours")
    }
}

impl Point<'_> {
    pub fn write(&self) {
        write(self);
    }
}

fn write(line: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(line) {
        println!("{line}");
    }
}
