//! Lines over time, as SVG.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Points of a line: seconds since the start, and the value.
pub(crate) type Line = Vec<(f64, f64)>;

/// Size of a picture, and of the part that has the lines.
const SIZE: [f64; 2] = [720.0, 360.0];
const LEFT: f64 = 70.0;
const TOP: f64 = 34.0;
const INNER: [f64; 2] = [630.0, 270.0];
/// One for each source, the same in all pictures.
const COLOURS: [(&str, &str); 5] = [
    ("iperf3", "#2ca02c"),
    ("sock_diag", "#1f77b4"),
    ("sock_ops", "#d62728"),
    ("ss", "#9467bd"),
    ("wire", "#ff7f0e"),
];
/// The most points of a line.
const POINTS: usize = 200;

/// A picture with a line for each source.
pub(crate) fn svg(title: &str, unit: &str, lines: &BTreeMap<&str, &Line>) -> String {
    let all = || lines.values().flat_map(|line| line.iter());
    let most = |value: fn(&(f64, f64)) -> f64| all().map(value).fold(0.0_f64, f64::max);
    let (end, top) = (most(|point| point.0).max(0.1), most(|point| point.1).max(1e-9) * 1.1);
    let place = |(x, y): (f64, f64)| (LEFT + x / end * INNER[0], TOP + INNER[1] - y / top * INNER[1]);
    let [width, height] = SIZE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
    };
    text(LEFT, 20.0, "start", title);
    for part in 0..=4 {
        let (time, value) = (end * f64::from(part) / 4.0, top * f64::from(part) / 4.0);
        let (x, _) = place((time, 0.0));
        let (_, y) = place((0.0, value));
        text(x, TOP + INNER[1] + 18.0, "middle", &format!("{time:.1} s"));
        text(LEFT - 6.0, y + 4.0, "end", &format!("{} {unit}", short(value)));
    }
    for (number, source) in lines.keys().enumerate() {
        let x = LEFT + 120.0 * f64::from(u32::try_from(number).unwrap_or(0));
        text(x + 16.0, height - 8.0, "start", source);
    }
    for (number, (source, line)) in lines.iter().enumerate() {
        let named = COLOURS.iter().find(|(name, _)| name == source);
        let colour = named.map_or("black", |(_, colour)| *colour);
        let x = LEFT + 120.0 * f64::from(u32::try_from(number).unwrap_or(0));
        let every = line.len().div_ceil(POINTS).max(1);
        let mut path = String::new();
        for (x, y) in line.iter().step_by(every).chain(line.last()).map(|point| place(*point)) {
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"><title>{source}</title>\
             </polyline>\n<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            path.trim_end(),
            height - 17.0
        );
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>\n</svg>",
        INNER[0], INNER[1]
    );
    svg
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_line_within_the_frame() {
        let (first, second) = (vec![(0.0, 1.0), (2.0, 4.0)], vec![(1.0, 2.0)]);
        let svg = svg("RTT", "ms", &BTreeMap::from([("a", &first), ("b", &second)]));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("70.0,242.6 700.0,58.5"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }
}
