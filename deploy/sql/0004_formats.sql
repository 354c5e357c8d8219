-- What formats need beside the readings: what is remembered of senders, messages told apart by their mapping, tags.

-- What came before the next message of a sender that cannot be read alone: written with the batch that changed it.
CREATE TABLE sender_state (
    source     text NOT NULL,                    -- of the mapping
    sender     text NOT NULL,                    -- an edge node (group/node), or a topic
    version    int8 NOT NULL,                    -- grows with every batch: one that was read by an older one is read again
    state      jsonb NOT NULL,
    births     jsonb,                            -- of a Sparkplug edge node: large, and seldom changed
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, sender)
);

-- Messages whose mapping says what tells them apart (`dedup`): one that comes again is a repeat.
CREATE TABLE seen_message (
    identity int8 PRIMARY KEY,                   -- hash of the source's name and the values
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX seen_message_at ON seen_message (at);

-- Texts beside an event, and pseudonyms of identifiers.
ALTER TABLE event ADD COLUMN tags jsonb;
