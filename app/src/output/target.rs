//! What is to be written where, as the command line says it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::Output;
use super::json::Json;
use super::log_file::{LogFile, LogState, Rotation};
use super::report::Report;
use super::summary::Summary;
use super::text::Text;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, which is created or truncated.
    File(PathBuf),
    /// A file that is added to, and perhaps rotated.
    Log(PathBuf, Option<Rotation>),
}

/// A target that was opened; of a file that is added to, what is told and asked while it is written.
pub type OpenTarget = (Box<dyn Write + Send>, Option<Arc<LogState>>);

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line per handshake.
    Text {
        /// And one per retransmitted segment, by this witness.
        retransmits: Option<Witness>,
    },
    /// JSON objects, one per line.
    Json,
    /// A few lines at the end.
    Summary,
    /// A report at the end.
    Report {
        /// How it is written.
        format: ReportFormat,
        /// The command line that it was made by.
        command: String,
    },
}

/// Who says what was retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The wire, for both ends.
    Wire,
    /// The kernel itself, for this host.
    Kernel,
    /// The wire, and where the kernel says something else.
    Both,
}

impl Witness {
    /// Whether the kernel is asked.
    #[must_use]
    pub const fn asks_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::Both)
    }
}

impl FromStr for Witness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "wire" => Ok(Self::Wire),
            "kernel" => Ok(Self::Kernel),
            "both" => Ok(Self::Both),
            _ => Err("must be wire, kernel or both".to_owned()),
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// For people, in a font of fixed width.
    Text,
    /// For a ticket.
    Markdown,
    /// One JSON object.
    Json,
}

/// Everything that is written to one target, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it goes.
    pub target: Target,
    /// What is written.
    pub formats: Vec<Format>,
}

impl Target {
    /// The target of a path; `-` is standard output.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdout } else { Self::File(path.to_owned()) }
    }

    /// Opens it. A file that is added to can be watched and opened again.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn open(&self) -> io::Result<OpenTarget> {
        Ok(match self {
            Self::Stdout => (Box::new(io::stdout()), None),
            Self::File(path) => (Box::new(File::create(path)?), None),
            Self::Log(path, rotation) => {
                let log = LogFile::open(path, *rotation)?;
                let state = log.state();
                (Box::new(log), Some(state))
            }
        })
    }

    /// Whether both are the same file by name.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        let path = |target: &Self| match target {
            Self::Stdout => None,
            Self::File(path) | Self::Log(path, _) => Some(path.clone()),
        };
        path(self).is_some() && path(self) == path(other)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) | Self::Log(path, _) => {
                write!(f, "{}", path.display().to_string().escape_debug())
            }
        }
    }
}

impl Plan {
    /// Whether all of it is for people.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.formats.iter().all(|format| match format {
            Format::Text { .. } | Format::Summary => true,
            Format::Report { format, .. } => *format != ReportFormat::Json,
            Format::Json => false,
        })
    }

    /// Adds a summary, unless it ends with something of the kind.
    pub fn end(&mut self) {
        if let None | Some(Format::Text { .. }) = self.formats.last() {
            self.formats.push(Format::Summary);
        }
    }
}

impl Format {
    /// The output that writes this.
    #[must_use]
    pub fn output(&self) -> Box<dyn Output> {
        match self {
            Self::Text { retransmits } => Box::new(Text { retransmits: *retransmits }),
            Self::Json => Box::new(Json),
            Self::Summary => Box::new(Summary),
            Self::Report { format, command } => {
                Box::new(Report { format: *format, command: command.clone() })
            }
        }
    }
}

impl ReportFormat {
    const NAMES: [(&str, Self); 3] =
        [("text", Self::Text), ("markdown", Self::Markdown), ("json", Self::Json)];

    /// What `--report=TEXT` asks for: the name of a format means standard output, anything else is a file, whose
    /// extension says the format.
    #[must_use]
    pub fn of(text: &OsStr) -> (Self, Target) {
        if let Some((_, format)) = Self::NAMES.iter().find(|(name, _)| text == *name) {
            return (*format, Target::Stdout);
        }
        let path = Path::new(text);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("md" | "markdown") => Self::Markdown,
            Some("json") => Self::Json,
            Some(_) | None => Self::Text,
        };
        (format, Target::of(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_format_or_a_file() {
        let of = |text: &str| ReportFormat::of(OsStr::new(text));
        let file = |path: &str| Target::File(PathBuf::from(path));
        assert_eq!(of("text"), (ReportFormat::Text, Target::Stdout));
        assert_eq!(of("markdown"), (ReportFormat::Markdown, Target::Stdout));
        assert_eq!(of("json"), (ReportFormat::Json, Target::Stdout));
        assert_eq!(of("-"), (ReportFormat::Text, Target::Stdout));
        assert_eq!(of("a/incident.MD"), (ReportFormat::Markdown, file("a/incident.MD")));
        assert_eq!(of("r.json"), (ReportFormat::Json, file("r.json")));
        assert_eq!(of("r.txt"), (ReportFormat::Text, file("r.txt")));
        assert_eq!(of("./json"), (ReportFormat::Text, file("./json")));
    }
}
