"""From a table of the user's own to a drafted problem: profile, evidence, questions, draft."""
