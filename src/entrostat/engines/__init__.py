"""Adapters: the same strategy objects inside other people's trainers."""
