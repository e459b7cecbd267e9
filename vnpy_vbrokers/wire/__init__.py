"""The OpenAPI Gateway's wire, bytes only: HTTP, push frames, the password's cipher, and what replies contain.

Nothing here knows vn.py, keeps state about the market or decides to try again; the broker's own words (``entrustId``,
``exchangeType``) end here and in the mapping tables.
"""
