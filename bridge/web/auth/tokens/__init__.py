"""Signed tokens: keys, signatures and claims."""
