//! Filter expressions, as people type them.

use std::str;

use tcptop_core::Filter;

/// An expression is either understood, and what it is shown as means the same, or the error points into it.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let finished = Filter::finished(text);
    assert!(text.starts_with(finished), "{finished:?} is not how {text:?} begins");
    match text.parse::<Filter>() {
        Ok(filter) => {
            let shown = filter.to_string();
            let again = shown.parse::<Filter>();
            assert_eq!(again.as_ref(), Ok(&filter), "{text:?} is shown as {shown:?}");
        }
        Err(error) => {
            assert!(text.get(error.at.clone()).is_some(), "{text:?}: {error:?}");
            let shown = error.shown_in(text);
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
            if let Some(nearest) = &error.nearest {
                assert!(nearest.parse::<Filter>().is_ok(), "{text:?}: {nearest:?} is no better");
            }
            let (_, first) = Filter::valid_part(text);
            assert_eq!(first.as_ref(), Some(&error), "{text:?}");
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const SEEDS: [&str; 16] = [
        "",
        "web",
        "peer:10.0.0.0/8 port:443 p99>50ms !role:server web",
        "peer:[2001:db8::1]:443,192.0.2.7",
        "port:80,8000-8100",
        "lport:22 local:192.0.2.0/24",
        "iface:eth0,wg0 !iface:lo",
        "outcome:refused,unanswered",
        "verdict:N,L,A,W aborted>0",
        "setup>=1m30s tries>1 setup_p99>1s",
        "new>100 p50<1.5ms",
        "max>2s loss>1%",
        "role:client,server,local,forwarded,observer",
        "dport:443",
        "p99 > 50ms",
        "ä:ö \u{200b} \"x\" 'y' a||b",
    ];
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}
