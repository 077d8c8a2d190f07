"""The page, in a real browser, fed by a real agent."""
