-- What an answer cost, beside the answer. Runs before and after the unified schema, and changes nothing twice.

-- step: usage columns of et_messages
ALTER TABLE et_messages
    ADD COLUMN IF NOT EXISTS llm_provider           text,
    ADD COLUMN IF NOT EXISTS llm_model              text,
    ADD COLUMN IF NOT EXISTS llm_prompt_tokens      integer,
    ADD COLUMN IF NOT EXISTS llm_completion_tokens  integer,
    ADD COLUMN IF NOT EXISTS llm_total_tokens       integer,
    ADD COLUMN IF NOT EXISTS llm_estimated_cost_usd numeric(12, 6);
