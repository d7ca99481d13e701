"""One frozen `Settings`, read once from TOML and the environment, and the rule tables."""
