"""What services are asked for, the events between them, their heartbeats, and who may use the API."""

WORK = """
CREATE TABLE tasks (                                 -- long work of a service, asked for by an event
    id uuid PRIMARY KEY,                             -- the event's id: an event makes one task
    service text NOT NULL,
    kind text NOT NULL,
    campaign_id uuid REFERENCES campaigns,
    payload jsonb NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    lease_owner text,
    lease_expires_at timestamptz,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,                          -- its last attempt
    finished_at timestamptz
);
CREATE INDEX tasks_open ON tasks (service, state, priority DESC, created_at) WHERE state IN ('pending', 'running');

CREATE TABLE requests (                              -- in a table of their own: the outbox may be pruned
    id uuid PRIMARY KEY,                             -- the event's
    campaign_id uuid NOT NULL REFERENCES campaigns,
    service text NOT NULL,                           -- that is asked: generator or trainer
    parents integer NOT NULL DEFAULT 0,              -- to regrow
    labels integer NOT NULL DEFAULT 0,               -- that there were
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX requests_by_campaign ON requests (campaign_id, service);

CREATE TABLE draws (
    id uuid PRIMARY KEY,                             -- the event's
    campaign_id uuid NOT NULL REFERENCES campaigns,
    sampled integer NOT NULL,                        -- molecules drawn
    proposed integer NOT NULL,                       -- of them, those that go on to the surrogate
    refused jsonb NOT NULL DEFAULT '{}',             -- number by reason of those that were no molecule at all
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX draws_by_campaign ON draws (campaign_id);

CREATE TABLE hazard_audits (                         -- without structures; outlives the campaigns
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign text NOT NULL,                          -- its name
    campaign_id uuid NOT NULL,
    action text NOT NULL CHECK (action IN ('refused', 'switched_off')),
    hazard text,                                     -- the class that was refused
    molecules integer,                               -- how many at once
    source text NOT NULL,                            -- who did it
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX hazard_audits_by_campaign ON hazard_audits (campaign_id);

CREATE TABLE heartbeats (
    service text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    queues text[] NOT NULL DEFAULT '{}',             -- that a DFT worker takes jobs from
    activity text NOT NULL,                          -- for people
    campaign_id uuid,                                -- whose task is in work
    calculation_ids uuid[] NOT NULL DEFAULT '{}',    -- in work
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, host, pid)
);
"""

EVENTS = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY,                             -- the CloudEvents id
    sequence bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    topic text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    envelope jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published_at IS NULL;
CREATE INDEX outbox_by_topic ON outbox (topic, sequence);
CREATE INDEX outbox_by_age ON outbox (topic, created_at);
CREATE INDEX outbox_by_key ON outbox (key, sequence);

CREATE TABLE inbox (
    event_id uuid NOT NULL,
    consumer text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    error text,                                      -- it went to the dead letters, and why
    PRIMARY KEY (event_id, consumer)
);

CREATE TABLE subscriptions (                         -- no event is forgotten before all who want it have handled it
    consumer text NOT NULL,
    topic text NOT NULL,
    PRIMARY KEY (consumer, topic)
);
"""

TOKENS = """
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('viewer', 'operator')),
    sha256 bytea NOT NULL UNIQUE,                    -- of the token, which has 256 random bits and is stored nowhere
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    used_at timestamptz                              -- last, to the minute
);

CREATE TABLE api_sessions (                          -- of browsers that signed in with a token
    sha256 bytea PRIMARY KEY,                        -- of the cookie, or of the key
    token_id uuid NOT NULL REFERENCES api_tokens ON DELETE CASCADE,
    is_key boolean NOT NULL DEFAULT false,           -- not a session yet: a key that begins one, once
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX api_sessions_by_token ON api_sessions (token_id);
"""
