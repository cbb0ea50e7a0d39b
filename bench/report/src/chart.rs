//! A chart of lines, as SVG.

use std::fmt::Write;

use crate::axis::{Axis, Scale, short};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// What a chart shows.
pub struct Chart<'a> {
    pub title: &'a str,
    pub across: (&'a str, Scale),
    pub up: (&'a str, Scale),
    pub series: Vec<Series<'a>>,
}

/// A line of a chart.
pub struct Series<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let across = Axis::new(self.across.1, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let up = Axis::new(self.up.1, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        text(
            &mut svg,
            (LEFT, 26.0),
            "start",
            &format!("<tspan font-size=\"16\">{}</tspan>", self.title),
        );
        self.grid(&mut svg, &across, &up);
        for (at, series) in self.sorted(&up).into_iter().enumerate() {
            let colour = colour(series.name, at);
            draw(&mut svg, series, colour, &across, &up);
            legend(&mut svg, series.name, colour, at);
        }
        svg + "</svg>\n"
    }

    fn grid(&self, svg: &mut String, across: &Axis, up: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in across.ticks() {
            let x = across.place(tick);
            line(svg, (x, TOP), (x, bottom));
            text(svg, (x, bottom + 18.0), "middle", &short(tick));
        }
        for tick in up.ticks() {
            let y = up.place(tick);
            line(svg, (LEFT, y), (right, y));
            text(svg, (LEFT - 8.0, y + 4.0), "end", &short(tick));
        }
        text(svg, ((LEFT + right) / 2.0, bottom + 42.0), "middle", self.across.0);
        text(svg, (LEFT, TOP - 8.0), "start", self.up.0);
    }

    /// In the order of their middles, which the legend has too.
    fn sorted(&self, up: &Axis) -> Vec<&Series<'_>> {
        let middle = |series: &Series<'_>| {
            series.points.get(series.points.len() / 2).map_or(0.0, |point| up.place(point.1))
        };
        let mut series: Vec<_> = self.series.iter().collect();
        series.sort_by(|one, other| middle(one).total_cmp(&middle(other)));
        series
    }
}

/// Ours are blue and green, limits grey, peers warm.
fn colour(name: &str, at: usize) -> &'static str {
    let of = |colours: &[&'static str]| colours[at % colours.len()];
    match name {
        "ours blocking" => "#1261a0",
        "ours smol" => "#2a9d8f",
        "ours async-std" => "#7cb518",
        _ if name.starts_with("limit std") => "#666",
        _ if name.starts_with("limit") => of(&["#999", "#bbb"]),
        _ if name.contains("qapi sync") => "#c1121f",
        _ if name.contains("qapi tokio") => "#f3722c",
        _ if name.contains("qmp tokio") => "#b5179e",
        _ if name.starts_with("peer") => "#d4a017",
        _ => of(&["#1261a0", "#2a9d8f", "#f3722c", "#b5179e", "#777"]),
    }
}

fn draw(svg: &mut String, series: &Series<'_>, colour: &str, across: &Axis, up: &Axis) {
    let width = if series.name.starts_with("ours") { 2.5 } else { 1.5 };
    let places = series.points.iter().map(|(x, y)| (across.place(*x), up.place(*y)));
    let places: Vec<_> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>",
        places.join(" ")
    );
}

fn legend(svg: &mut String, name: &str, colour: &str, at: usize) {
    let (x, y) = (WIDTH - RIGHT + 16.0, TOP + 14.0 + 20.0 * at as f64);
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
        x + 18.0
    );
    text(svg, (x + 26.0, y + 4.0), "start", name);
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#e4e4e4\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
