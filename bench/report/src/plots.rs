//! Which charts there are.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::axis::Scale::{self, Linear, Log};
use crate::chart::{Chart, Series};
use crate::results::Results;

/// A chart's file, title, and axes.
type Plot = (&'static str, &'static str, (&'static str, Scale), (&'static str, Scale));

const PLOTS: [Plot; 4] = [
    (
        "throughput",
        "Replies decoded into a string, by size (higher is better)",
        ("bytes in a reply", Log),
        ("MB/s", Log),
    ),
    (
        "latency",
        "A command's time, server on the same CPU (lower is better)",
        ("percentile", Linear),
        ("µs", Log),
    ),
    (
        "growth",
        "The core's work by size of a message (level is linear)",
        ("bytes in a message", Log),
        ("instructions a byte", Log),
    ),
    ("memory", "Heap of idle connections (lower is better)", ("connections", Log), ("KB", Log)),
];

/// Draws them, and gives the text that shows them.
pub fn write(results: &Results, folder: &Path) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    let mut text = String::from("## Plots\n\n");
    for (name, title, across, up) in PLOTS {
        let series = match name {
            "growth" => growth(results),
            _ => points(results, name),
        };
        if series.is_empty() {
            continue;
        }
        let chart = Chart { title, across, up, series };
        fs::write(folder.join(format!("{name}.svg")), chart.svg())?;
        let _ = writeln!(text, "![{title}](plots/{name}.svg)\n");
    }
    Ok(text)
}

fn points<'a>(results: &'a Results, plot: &str) -> Vec<Series<'a>> {
    let mut all: Vec<Series<'a>> = Vec::new();
    for point in results.points.iter().filter(|point| point.plot == plot) {
        let place = (point.x, point.y);
        match all.iter_mut().find(|series| series.name == point.series) {
            Some(series) => series.points.push(place),
            None => all.push(Series { name: &point.series, points: vec![place] }),
        }
    }
    all
}

/// From rows named `growth, pieces of 64, 1024 KiB`: a line for each size of the pieces.
fn growth(results: &Results) -> Vec<Series<'_>> {
    let mut all: Vec<Series<'_>> = Vec::new();
    for figure in results.figures.iter().filter(|figure| figure.is_ours()) {
        let Some(rest) = figure.row.strip_prefix("growth, ") else { continue };
        let Some((pieces, size)) = rest.split_once(", ") else { continue };
        let Some(Ok(kib)) = size.strip_suffix(" KiB").map(str::parse::<f64>) else { continue };
        let place = (kib * 1024.0, figure.value);
        match all.iter_mut().find(|series| series.name == pieces) {
            Some(series) => series.points.push(place),
            None => all.push(Series { name: pieces, points: vec![place] }),
        }
    }
    all
}
