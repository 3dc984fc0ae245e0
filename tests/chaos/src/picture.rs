//! The share of retransmits over time, with what went on and what Prometheus said of it.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
/// Where the curve is.
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 268.0;
/// Where the first alert's span is, and how far below it the next one's.
const ALERTS: f64 = 318.0;
const ROW: f64 = 24.0;
/// The alert's threshold.
const LIMIT: f64 = 0.02;

/// Something that began, in seconds since the start; without a name it is the end of the one before.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) at_s: f64,
}

/// How long an alert fired.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) alert: &'static str,
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

/// All that is drawn. Times are in seconds since the start.
pub(super) struct Picture<'a> {
    pub(super) length_s: f64,
    pub(super) share: Vec<(f64, f64)>,
    pub(super) acts: &'a [Act],
    pub(super) spans: Vec<Span>,
}

impl Picture<'_> {
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#24292f\">\n\
             <title>Retransmitted share of segments over time, with the alerts that fired</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        text(
            &mut svg,
            LEFT,
            22.0,
            "start",
            "Retransmitted share of segments, as Prometheus scraped it from tcptop",
        );
        self.acts(&mut svg);
        self.axes(&mut svg);
        self.curve(&mut svg);
        self.alerts(&mut svg);
        svg + "</svg>\n"
    }

    fn x(&self, at_s: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (at_s / self.length_s).clamp(0.0, 1.0)
    }

    /// The highest line of the axis: whole percents, and three at the least.
    fn most_percent(&self) -> f64 {
        let most = self.share.iter().map(|(_, share)| share * 100.0).filter(|share| share.is_finite());
        (most.fold(0.0, f64::max) * 1.1).ceil().max(3.0)
    }

    fn y(&self, share: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (share * 100.0 / self.most_percent())
    }

    fn acts(&self, svg: &mut String) {
        for (number, act) in self.acts.iter().enumerate().filter(|(_, act)| !act.name.is_empty()) {
            let end_s = self.acts.get(number + 1).map_or(self.length_s, |next| next.at_s);
            let (from, to) = (self.x(act.at_s), self.x(end_s));
            if act.name != "nothing lost" {
                rectangle(svg, (from, TOP), (to - from, BOTTOM - TOP), "#fff1e5");
            }
            text(svg, f64::midpoint(from, to), TOP - 10.0, "middle", act.name);
        }
    }

    fn axes(&self, svg: &mut String) {
        let most = self.most_percent();
        let step = if most > 8.0 { 2.0 } else { 1.0 };
        let mut percent = 0.0;
        while percent <= most {
            let y = self.y(percent / 100.0);
            line(svg, (LEFT, y), (RIGHT, y), "#d0d7de", "");
            text(svg, LEFT - 8.0, y + 4.0, "end", &format!("{percent}%"));
            percent += step;
        }
        let step = if self.length_s > 180.0 { 60.0 } else { 15.0 };
        let mut at_s = 0.0;
        while at_s <= self.length_s {
            text(svg, self.x(at_s), BOTTOM + 18.0, "middle", &format!("{at_s} s"));
            at_s += step;
        }
        line(svg, (LEFT, self.y(LIMIT)), (RIGHT, self.y(LIMIT)), "#cf222e", " stroke-dasharray=\"6 4\"");
    }

    /// What is not known is a gap.
    fn curve(&self, svg: &mut String) {
        let mut path = String::new();
        let mut pen = 'M';
        for (at_s, share) in &self.share {
            if share.is_finite() {
                let _ = write!(path, "{pen}{:.1} {:.1}", self.x(*at_s), self.y(*share));
                pen = 'L';
            } else {
                pen = 'M';
            }
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#0969da\" stroke-width=\"2\"/>");
    }

    fn alerts(&self, svg: &mut String) {
        for (number, span) in self.spans.iter().enumerate() {
            let y = ALERTS + ROW * f64::from(u32::try_from(number).unwrap_or(0));
            let (from, to) = (self.x(span.from_s), self.x(span.to_s));
            rectangle(svg, (from, y - 13.0), ((to - from).max(2.0), 18.0), "#cf222e");
            let said = format!("{} fires for {:.0} s", span.alert, span.to_s - span.from_s);
            // Beside the bar where there is more room.
            if to < WIDTH / 2.0 {
                text(svg, to + 8.0, y, "start", &said);
            } else {
                text(svg, from - 8.0, y, "end", &said);
            }
        }
    }
}

// Writing to memory does not fail.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, said: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, more: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"{more}/>"
    );
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_gap_and_all_is_within_the_picture() {
        let share = vec![(0.0, 0.0), (1.0, 0.05), (2.0, f64::NAN), (3.0, 0.01)];
        let acts = [Act { name: "trouble", at_s: 1.0 }, Act { name: "", at_s: 2.0 }];
        let spans = vec![Span { alert: "A", from_s: 1.0, to_s: 2.0 }];
        let picture = Picture { length_s: 4.0, share, acts: &acts, spans };
        let svg = picture.svg();
        let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1));
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"));
        assert!(picture.y(0.05) >= TOP && picture.y(0.05) < picture.y(LIMIT));
    }
}
