//! How things are shown: text lines, JSON, a report, the screen. Sinks get events and snapshots and give
//! bytes; none of them knows where records come from.

pub mod format;
pub mod json;
pub mod outputs;
mod queue;
pub mod report;
pub mod text;
pub mod writer;

pub use format::RenderContext;
