"""The `/v1` API for backends and operators."""
