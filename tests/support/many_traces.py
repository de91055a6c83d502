"""A month of traces, many of them, as the ingester would have stored them; made in SQL, so that a million take seconds.

Everything is derived from the row's number: the same count gives the same figures.
"""

import duckdb

from llmguard.traces.places import Places
from llmguard.traces.store import TraceStore

APPS = 200
INSERT = """
INSERT INTO traces BY NAME
WITH numbers AS (SELECT i, hash(i) AS h FROM range($count) AS r(i)),
facts AS (
    SELECT
        i, h, 'app-' || lpad((h % $apps)::VARCHAR, 3, '0') AS app, h % $apps AS a,
        $since::TIMESTAMPTZ + to_seconds((h // 7 % ($days * 86400))::BIGINT) AS started_at,
        (h // 11) % 100 AS luck, 50 + (h // 13) % 4000 AS read, 1 + (h // 17) % 900 AS written, (h // 19) % 3 AS m
    FROM numbers
)
SELECT
    i + 1 AS seq, uuid() AS trace_id, started_at, '/v1/chat/completions' AS endpoint, app,
    'owner-' || (a % 40) || '@example.com' AS owner, (4000 + a % 20)::VARCHAR AS cost_center,
    'team-' || (a % 25) AS team, 'k1' AS key_id, 'summarise' AS preset, 1 + (h // 23) % 3 AS preset_version,
    repeat('a', 64) AS registry_digest, $version AS price_version, 'openai' AS provider, 'model-' || m AS model,
    CASE WHEN luck < 3 THEN 429 WHEN luck < 4 THEN 502 ELSE 200 END AS status,
    CASE WHEN luck < 3 THEN 'rate_limit_exceeded' WHEN luck < 4 THEN 'provider_error' END AS code,
    '{}' AS decision, '{"messages": []}' AS request, MAP {} AS entities,
    CASE WHEN luck >= 3 THEN read END AS input_tokens, CASE WHEN luck >= 3 THEN written END AS output_tokens,
    CASE WHEN luck >= 3 THEN read // 3 END AS cached_tokens,
    CASE WHEN luck >= 3 THEN written // 2 END AS reasoning_tokens,
    CASE WHEN luck >= 3 THEN 0 END AS cache_write_tokens, CASE WHEN luck >= 3 THEN 0 END AS cache_write_1h_tokens,
    CASE WHEN luck >= 3 THEN 0 END AS audio_input_tokens, CASE WHEN luck >= 3 THEN 0 END AS audio_output_tokens,
    CASE WHEN luck >= 3 THEN 'standard' END AS service_tier, CASE WHEN luck >= 3 THEN 'standard' END AS price_rate,
    CASE WHEN luck BETWEEN 3 AND 5 THEN 'held' WHEN luck = 6 THEN 'counted' WHEN luck >= 3 THEN 'reported' END
        AS cost_basis,
    -- 0.15 USD a million read, 0.075 of them cached, 0.60 written; a whole nano-dollar each
    CASE WHEN luck >= 3 THEN
        CAST(((read - read // 3) * 150 + (read // 3) * 75 + written * 600)::DECIMAL(18, 0) * 0.000000001
        AS DECIMAL(18, 9)) END AS cost_usd,
    1.0 AS latency_ms, 0.1 AS overhead_ms, false AS stream, '{}' AS steps,
    repeat('0', 64) AS payload_digest, repeat('0', 64) AS prev_digest, repeat('0', 64) AS digest
FROM facts ORDER BY started_at
"""


def put_many(places: Places, count: int, *, since="2026-11-01", days=30, version="registry:0123456789ab"):
    """Store so many traces, over so many days."""
    places.create()
    store = TraceStore(places)
    try:
        values = {"count": count, "apps": APPS, "since": f"{since}T00:00:00Z", "days": days, "version": version}
        store.connection.execute(INSERT, values)
    finally:
        store.close()


def hand_written(places: Places, sql: str):
    """Return the rows of a plain SQL statement on the stored file, without any code of ours."""
    with duckdb.connect(str(places.store), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()
