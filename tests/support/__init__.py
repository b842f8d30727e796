"""Servers and helpers that the tests share; none of them imports backspan."""
