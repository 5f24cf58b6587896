-- The database of the service. Times are seconds since 1970 in UTC, but for runs.started, which is the report's text.

CREATE TABLE files (
  sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, used REAL NOT NULL, derived INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX files_by_use ON files (derived, used);
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL, plan TEXT NOT NULL,
  priority INTEGER NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL,
  attempts INTEGER NOT NULL DEFAULT 0, worker TEXT, lease TEXT, lease_until REAL, cancel INTEGER NOT NULL DEFAULT 0,
  exit_code INTEGER, reason TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, id);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs (id), part TEXT NOT NULL, suite TEXT NOT NULL,
  subject TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL, oracle TEXT NOT NULL, started TEXT NOT NULL,
  build TEXT NOT NULL AS (coalesce(nullif(version, ''), nullif(substr(sha256, 1, 12), ''), subject)),
  elapsed_ns INTEGER NOT NULL, cases INTEGER NOT NULL, totals TEXT NOT NULL, exit_code INTEGER NOT NULL,
  conclusion TEXT NOT NULL, report TEXT NOT NULL, UNIQUE (job, part)
) STRICT;
CREATE INDEX runs_by_suite ON runs (suite, id);
CREATE INDEX runs_by_build ON runs (sha256, id);
CREATE TABLE cases (
  id INTEGER PRIMARY KEY, suite TEXT NOT NULL, name TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  rank INTEGER NOT NULL, nights TEXT NOT NULL, UNIQUE (suite, name)
) STRICT;
CREATE INDEX cases_by_rank ON cases (suite, rank, name);
CREATE TABLE results (
  case_id INTEGER NOT NULL REFERENCES cases (id), run INTEGER NOT NULL REFERENCES runs (id), verdict TEXT NOT NULL,
  reason TEXT NOT NULL, elapsed_ns INTEGER NOT NULL, PRIMARY KEY (case_id, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX results_by_run ON results (run);
CREATE VIEW case_history AS
  SELECT case_id, run, started, build, verdict, reason, results.elapsed_ns FROM results JOIN runs ON runs.id = run;
CREATE TABLE findings (
  id INTEGER PRIMARY KEY, subject TEXT NOT NULL, cause TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL,
  issue TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', first_run INTEGER NOT NULL, last_run INTEGER NOT NULL,
  first_build TEXT NOT NULL, last_build TEXT NOT NULL, fixed_build TEXT NOT NULL DEFAULT '', changed REAL NOT NULL,
  detail TEXT NOT NULL, merged INTEGER REFERENCES findings (id), UNIQUE (subject, cause)
) STRICT;
CREATE INDEX findings_by_change ON findings (changed DESC, id DESC) WHERE merged IS NULL;
CREATE INDEX findings_by_state ON findings (state, changed DESC, id DESC) WHERE merged IS NULL;
CREATE TABLE signatures (
  subject TEXT NOT NULL, suite TEXT NOT NULL, signature TEXT NOT NULL,
  finding INTEGER NOT NULL REFERENCES findings (id), entry TEXT NOT NULL, PRIMARY KEY (subject, suite, signature)
) STRICT, WITHOUT ROWID;
CREATE INDEX signatures_by_finding ON signatures (finding);
CREATE TABLE occurrences (
  finding INTEGER NOT NULL REFERENCES findings (id), run INTEGER NOT NULL REFERENCES runs (id), state TEXT NOT NULL,
  cases INTEGER NOT NULL, PRIMARY KEY (finding, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX occurrences_by_run ON occurrences (run);
CREATE VIEW finding_history AS
  SELECT finding, run, started, build, state, occurrences.cases FROM occurrences JOIN runs ON runs.id = run;
CREATE TABLE attachments (
  finding INTEGER NOT NULL REFERENCES findings (id), name TEXT NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY (finding, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE rendered (
  report TEXT NOT NULL, format TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (report, format)
) STRICT, WITHOUT ROWID;
CREATE TABLE cells (
  subject TEXT NOT NULL, family TEXT NOT NULL, instruction TEXT NOT NULL, operands TEXT NOT NULL, outcome TEXT NOT NULL,
  checks INTEGER NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (subject, family, instruction, operands)
) STRICT, WITHOUT ROWID;
CREATE TABLE builds (
  id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, name TEXT NOT NULL, version TEXT NOT NULL,
  revision TEXT NOT NULL, arrived REAL NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  gate INTEGER REFERENCES jobs (id)
) STRICT;
CREATE TABLE tokens (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT NOT NULL UNIQUE, scope TEXT NOT NULL,
  created REAL NOT NULL, expires REAL NOT NULL
) STRICT;
CREATE TABLE logins (
  digest TEXT PRIMARY KEY, token INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE, expires REAL NOT NULL
) STRICT;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL
) STRICT;
CREATE TABLE schedule (
  name TEXT PRIMARY KEY, due REAL NOT NULL, last REAL
) STRICT;
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, url TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX deliveries_by_state ON deliveries (state, due);
