//! `cargo xtask chaos`: a real Prometheus scrapes tcptop while a wire loses packets, a peer goes silent and another one refuses,
//! and each alert of `packaging/prometheus` has to fire in its time and to clear again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lab::Tcptop;
use lab::prometheus::{Prometheus, packaged, scraping};

use picture::{Act, Picture, Span};
use stage::Stage;

mod picture;
mod stage;

/// Much longer than any alert takes to fire or to clear.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRANSMITS: &str = "TcpRetransmitShareHigh";
const SILENCE: &str = "TcpUnansweredShareHigh";
const REFUSAL: &str = "TcpRefusedShareHigh";
const ALERTS: [&str; 3] = [RETRANSMITS, SILENCE, REFUSAL];
/// As in the alert, over the window of this run.
const SHARE: &str =
    "sum(rate(tcptop_segments_retransmitted_total[WINDOW])) / sum(rate(tcptop_segments_total[WINDOW]))";

/// Let a real Prometheus see what tcptop sees of a wire in trouble, and each alert fire and clear, as root
#[derive(Parser)]
#[command(name = "chaos", bin_name = "cargo xtask chaos")]
struct Args {
    /// Go on as soon as an alert has fired or cleared, instead of a minute for each act
    #[arg(long)]
    short: bool,

    /// Seed for the packets that are lost
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Where the picture of the retransmit share goes
    #[arg(long, value_name = "FILE", default_value = "screenshots/chaos/retransmits.svg")]
    picture: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| Chaos::start(&args)?.run(&args.picture))
}

/// The run, and what is known of it.
struct Chaos {
    stage: Stage,
    prometheus: Prometheus,
    /// The rate window of the rules here: theirs are of minutes, as a fleet needs them.
    window: &'static str,
    /// How long an act lasts at least.
    act: Duration,
    began_s: f64,
    acts: Vec<Act>,
    _tcptop: Tcptop,
}

impl Chaos {
    fn start(args: &Args) -> Result<Self> {
        lab::program::require(&["prometheus"])?;
        let stage = Stage::new(args.seed)?;
        let (tcptop, metrics) = stage.watch()?;
        let (window, act) =
            if args.short { ("6s", Duration::ZERO) } else { ("15s", Duration::from_secs(60)) };
        let prometheus = Prometheus::start(stage.near(), &scraping(metrics), &rules(window), &[])?;
        let (began_s, acts) = (now_s(), Vec::new());
        Ok(Self { stage, prometheus, window, act, began_s, acts, _tcptop: tcptop })
    }

    fn run(mut self, picture: &Path) -> Result<()> {
        let _requests = self.stage.requests()?;
        self.quiet("nothing lost")?;
        self.stage.lose();
        self.trouble("5% lost, 100 ms", RETRANSMITS)?;
        self.stage.heal();
        self.relief("nothing lost", RETRANSMITS)?;
        let silence = self.stage.silence()?;
        self.trouble("a silent peer", SILENCE)?;
        drop(silence);
        self.relief("", SILENCE)?;
        let refusal = self.stage.refusal()?;
        self.trouble("a refusing peer", REFUSAL)?;
        drop(refusal);
        self.relief("", REFUSAL)?;
        self.draw(picture)
    }

    /// Nothing is wrong, and no alert says so.
    fn quiet(&mut self, name: &'static str) -> Result<()> {
        self.act(name);
        let share = self.share();
        self.prometheus.wait(&share, PATIENCE, |samples| samples.iter().any(|one| one.value() == 0.0))?;
        self.stay(self.act / 4)?;
        ensure!(self.firing(None)?.is_empty(), "an alert without trouble: {:?}", self.firing(None)?);
        Ok(())
    }

    /// This alert fires, and no other.
    fn trouble(&mut self, name: &'static str, alert: &'static str) -> Result<()> {
        ensure!(self.firing(Some(alert))?.is_empty(), "{alert} fires before its time");
        let began_s = self.act(name);
        self.wait(alert, true)?;
        println!("{name}: {alert} fires after {:.0} s", now_s() - began_s);
        self.stay(self.act)?;
        let all = self.firing(None)?;
        ensure!(all == [alert], "{name}: {alert} is to fire alone, but there are {all:?}");
        Ok(())
    }

    /// The alert clears.
    fn relief(&mut self, name: &'static str, alert: &'static str) -> Result<()> {
        let began_s = self.act(name);
        self.wait(alert, false)?;
        println!(
            "{}: {alert} clears after {:.0} s",
            if name.is_empty() { "over" } else { name },
            now_s() - began_s
        );
        self.stay(self.act / 4)
    }

    fn act(&mut self, name: &'static str) -> f64 {
        let at_s = now_s();
        self.acts.push(Act { name, at_s: at_s - self.began_s });
        at_s
    }

    /// Lets time pass; what was wrong stays wrong.
    fn stay(&self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.stage.check()
    }

    fn wait(&self, alert: &str, fires: bool) -> Result<()> {
        let expression = firing(Some(alert));
        self.prometheus.wait(&expression, PATIENCE, |samples| samples.is_empty() != fires).map(drop)
    }

    /// The alerts that fire.
    fn firing(&self, alert: Option<&str>) -> Result<Vec<String>> {
        let samples = self.prometheus.query(&firing(alert))?;
        Ok(samples.iter().map(|sample| sample.label("alertname").to_owned()).collect())
    }

    fn share(&self) -> String {
        SHARE.replace("WINDOW", self.window)
    }

    /// Draws what Prometheus has: the share over time, and the spans of the alerts.
    fn draw(&self, file: &Path) -> Result<()> {
        let end_s = now_s();
        let range = |expression: &str| self.prometheus.query_range(expression, self.began_s, end_s, 1.0);
        let since = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().map(|(at_s, value)| (at_s - self.began_s, *value)).collect()
        };
        let share = range(&self.share())?;
        let share = since(&share.first().context("Prometheus has no share")?.points);
        let most = share.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        println!("retransmitted at most: {:.1}%", most * 100.0);
        let mut spans = Vec::new();
        for alert in ALERTS {
            let points: Vec<_> =
                range(&firing(Some(alert)))?.iter().flat_map(|one| since(&one.points)).collect();
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            spans.push(Span { alert, from_s: first.0, to_s: last.0 });
        }
        ensure!(spans.len() == ALERTS.len(), "Prometheus does not have all spans: {spans:?}");
        let picture = Picture { length_s: end_s - self.began_s, share, acts: &self.acts, spans };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, picture.svg()).with_context(|| format!("cannot write {}", file.display()))?;
        println!("drawn: {}", file.display());
        Ok(())
    }
}

/// An expression for an alert that fires, or for any.
fn firing(alert: Option<&str>) -> String {
    let name =
        alert.map_or_else(|| "alertname!~\"Tcptop.*\"".to_owned(), |alert| format!("alertname=\"{alert}\""));
    format!("ALERTS{{{name},alertstate=\"firing\"}}")
}

/// The rules that are installed, but with a window of seconds.
fn rules(window: &str) -> String {
    packaged("prometheus/alerts.yml").replace("[5m]", &format!("[{window}]")).replace("for: 5m", "for: 2s")
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alerts_are_those_that_are_installed() {
        let rules = rules("6s");
        for alert in ALERTS {
            assert!(rules.contains(&format!("- alert: {alert}\n")), "{alert}");
        }
        assert!(rules.contains("[6s]") && !rules.contains("[5m]") && !rules.contains("for: 5m"));
    }
}
