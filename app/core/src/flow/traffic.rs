//! What one end of a flow has sent.

use probe_common::Volume;

/// What one end of a flow has sent, as far as it was seen. The causes of retransmits, which few flows have, are elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Segments with data.
    pub segments: u64,
    /// Bytes of data, retransmitted ones included.
    pub bytes: u64,
    /// Segments of them that were retransmitted.
    pub retransmits: u64,
}

impl From<&Volume> for Traffic {
    fn from(volume: &Volume) -> Self {
        let Volume { segments, bytes, retransmits, .. } = *volume;
        Self { segments, bytes, retransmits: retransmits.into() }
    }
}
