-- Questions over the JSON lines of many hosts, for DuckDB:
--
--   duckdb -cmd "SET VARIABLE files = 'events/*.json*'" -c ".read fleet.sql" -c "FROM worst_peers LIMIT 20"
--
-- Lines are what `tcptop serve --output=FILE` or `--json` writes. Without the variable, those of events.json* here are read.
-- Times are nanoseconds; what is not known is NULL and in no percentile.
--
-- ClickHouse takes the views from `handshakes` on with two changes: `lines` is a table of these columns, or
-- file('events.json', JSONEachRow), and quantile_cont(x, 0.99) is quantileExactInclusive(0.99)(x).

SET VARIABLE files = coalesce(getvariable('files'), 'events.json*');

CREATE OR REPLACE VIEW lines AS
SELECT * FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    type: 'VARCHAR', time: 'TIMESTAMP', host: 'VARCHAR', run: 'VARCHAR', interface: 'VARCHAR', connection: 'UBIGINT',
    role: 'VARCHAR', local_ip: 'VARCHAR', local_port: 'USMALLINT', remote_ip: 'VARCHAR', remote_port: 'USMALLINT',
    client_isn: 'UINTEGER', server_isn: 'UINTEGER', outcome: 'VARCHAR', tries: 'UINTEGER', ambiguous: 'BOOLEAN',
    rtt_ns: 'UBIGINT', server_leg_ns: 'BIGINT', client_leg_ns: 'BIGINT', turnaround_ns: 'BIGINT', setup_ns: 'UBIGINT'
});

-- Attempts, with the port of the service.
CREATE OR REPLACE VIEW handshakes AS
SELECT *, CASE WHEN role = 'server' THEN local_port ELSE remote_port END AS port
FROM lines WHERE type = 'handshake';

-- Peers by how many attempts with them fail, over all hosts. An attempt that was not decided is neither.
CREATE OR REPLACE VIEW worst_peers AS
SELECT remote_ip, port, role,
    count(DISTINCT host) AS hosts,
    count(*) AS attempts,
    count(*) FILTER (WHERE outcome <> 'established') AS failed,
    count(*) FILTER (WHERE outcome IN ('unanswered', 'half_open')) AS unanswered,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'unreachable') AS unreachable,
    quantile_cont(rtt_ns, 0.5) / 1e6 AS rtt_p50_ms,
    quantile_cont(setup_ns, 0.99) / 1e6 AS setup_p99_ms
FROM handshakes WHERE outcome NOT IN ('pending', 'unknown')
GROUP BY remote_ip, port, role
ORDER BY failed DESC, setup_p99_ms DESC NULLS LAST, remote_ip, port;

-- Percentiles by service and hour.
CREATE OR REPLACE VIEW service_hours AS
SELECT date_trunc('hour', time) AS hour, role, port,
    count(DISTINCT host) AS hosts,
    count(*) AS attempts,
    count(*) FILTER (WHERE outcome = 'established') AS established,
    quantile_cont(setup_ns, 0.5) / 1e6 AS setup_p50_ms,
    quantile_cont(setup_ns, 0.9) / 1e6 AS setup_p90_ms,
    quantile_cont(setup_ns, 0.99) / 1e6 AS setup_p99_ms,
    quantile_cont(rtt_ns, 0.99) / 1e6 AS rtt_p99_ms
FROM handshakes
GROUP BY hour, role, port
ORDER BY hour, role, port;

-- Both ends of one connection. The two initial sequence numbers are the same at both ends, also behind NAT, where addresses and
-- ports are not; a proxy that answers by itself makes two connections. What the client waited for the SYN-ACK, minus what the
-- server took to send it, is the time in the network. Each is measured by one clock, so the clocks need not agree.
CREATE OR REPLACE VIEW both_ends AS
SELECT c.host AS client_host, s.host AS server_host, c.port, c.time,
    c.local_ip AS client_ip, c.local_port AS client_port,
    s.remote_ip AS seen_ip, s.remote_port AS seen_port,
    (c.local_ip, c.local_port) <> (s.remote_ip, s.remote_port) AS is_translated,
    c.server_leg_ns, s.turnaround_ns,
    c.server_leg_ns - s.turnaround_ns AS network_ns
FROM handshakes c
JOIN handshakes s ON c.client_isn = s.client_isn AND c.server_isn = s.server_isn
WHERE c.role = 'client' AND s.role = 'server'
    AND c.time BETWEEN s.time - INTERVAL 1 HOUR AND s.time + INTERVAL 1 HOUR;

-- Time in the network between hosts.
CREATE OR REPLACE VIEW network_time AS
SELECT client_host, server_host, port,
    count(*) AS connections,
    bool_or(is_translated) AS is_translated,
    min(network_ns) / 1e6 AS network_min_ms,
    quantile_cont(network_ns, 0.5) / 1e6 AS network_p50_ms,
    quantile_cont(network_ns, 0.99) / 1e6 AS network_p99_ms,
    quantile_cont(turnaround_ns, 0.99) / 1e6 AS turnaround_p99_ms
FROM both_ends WHERE network_ns IS NOT NULL
GROUP BY client_host, server_host, port
ORDER BY network_p99_ms DESC;

-- My SYN left, and nothing answered: which host saw it come in? NULL: none that writes lines.
CREATE OR REPLACE VIEW unanswered_attempts AS
SELECT c.host AS client_host, c.time, c.remote_ip, c.port, c.tries, s.host AS seen_by, s.outcome AS seen_as
FROM handshakes c
LEFT JOIN handshakes s ON s.client_isn = c.client_isn AND s.role = 'server'
    AND s.time BETWEEN c.time - INTERVAL 1 HOUR AND c.time + INTERVAL 1 HOUR
WHERE c.role = 'client' AND c.outcome = 'unanswered'
ORDER BY c.time;
