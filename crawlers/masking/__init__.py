"""Personal data: found by pattern or named by field, and masked, dropped or tokenised wherever it would stay.

Records, dead letters, stored pages and logs all go through one Masker; docs/privacy.md says what it finds. No pattern
is imported where no rule is set.
"""
