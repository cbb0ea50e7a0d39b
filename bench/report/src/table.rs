//! The figures as tables.

use std::fmt::Write;

use crate::reasons::Reasons;
use crate::results::{Figure, Results, number};

/// A line for each figure of ours that has a goal.
pub fn summary(results: &Results, reasons: &Reasons) -> String {
    let mut text = String::from(
        "## Goals\n\nLess is better in every row. A ratio is to the limit named behind it, measured in pairs.\n\n\
         | | ours | limit | best peer | ratio | goal | |\n|---|---|---|---|---|---|---|\n",
    );
    let mut missed = Vec::new();
    for figure in results.figures.iter().filter(|figure| figure.is_ours()) {
        let Some(met) = figure.is_met() else { continue };
        let _ = writeln!(text, "{}", line(figure, results, met));
        if !met {
            missed.push(figure);
        }
    }
    if !missed.is_empty() {
        text += "\n### What is not reached, and why\n\n";
    }
    for figure in missed {
        let reason = reasons.of(&figure.row, &figure.what).unwrap_or("not looked into yet");
        let _ = writeln!(text, "- {}, {}: {reason}", figure.row, figure.what);
    }
    text + "\n"
}

fn line(figure: &Figure, results: &Results, met: bool) -> String {
    let Figure { row, what, unit, .. } = figure;
    let ours = format!("{} {unit} ({})", number(figure.value), what.trim_start_matches("ours "));
    let ours = ours.replace(" (ours)", "");
    let limit = match &figure.beside {
        Some(beside) => results.of(row).find(|other| other.what == *beside),
        None => results.best(row, "limit"),
    };
    // A limit may be of another row, as that of what is decoded is what is not.
    let limit = limit.map_or(String::new(), named);
    let peer = results.best(row, "peer").map_or(String::new(), named);
    let ratio = match (figure.ratio, &figure.beside) {
        (Some(ratio), Some(beside)) => format!("{} × {}", number(ratio), plain(beside)),
        _ => String::new(),
    };
    let goal = match (figure.goal, figure.ratio_goal) {
        (Some(goal), _) => format!("≤ {}", number(goal)),
        (None, Some(goal)) => format!("≤ {} ×", number(goal)),
        (None, None) => String::new(),
    };
    let verdict = if met { "met" } else { "**not met**" };
    format!("| {row} | {ours} | {limit} | {peer} | {ratio} | {goal} | {verdict} |")
}

fn named(figure: &Figure) -> String {
    format!("{} ({})", number(figure.value), plain(&figure.what))
}

/// Without what kind it is.
fn plain(what: &str) -> &str {
    what.trim_start_matches("limit ").trim_start_matches("peer ")
}

/// Every figure, row by row.
pub fn all(results: &Results) -> String {
    let mut text = String::from("## All figures\n\n");
    for row in results.rows() {
        let unit = results.of(row).next().map_or("", |figure| &figure.unit);
        let _ = writeln!(text, "### {row}\n\n| | {unit} | ratio | |\n|---|---|---|---|");
        for figure in results.of(row) {
            let ratio = figure.ratio.map_or(String::new(), number);
            let note = figure.note.as_deref().unwrap_or_default();
            let _ =
                writeln!(text, "| {} | {} | {ratio} | {note} |", figure.what, number(figure.value));
        }
        text.push('\n');
    }
    text
}
