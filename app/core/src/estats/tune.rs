//! `tcpEStatsTuneTable`.

use super::{Missing, Variable};

pub(super) static VARIABLES: [Variable; 4] = [
    Variable::missing("LimCwnd", "octets", Missing::Interface),
    Variable::missing("LimSsthresh", "octets", Missing::Interface),
    Variable::missing("LimRwin", "octets", Missing::Events),
    Variable::missing("LimMSS", "octets", Missing::Events),
];
