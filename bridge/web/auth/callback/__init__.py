"""Authorisation by a callback: the backend says who may connect, and to what."""
