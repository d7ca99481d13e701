"""One module per step of the schema. A step only adds: processes of the version before may still run beside it."""
