"""The product around the two gateways: command line, VN Trader window, terminal and demo.

It may import everything and nothing imports it. Importing it loads nothing: vn.py fixes its folder when it is first
imported, so the door decides about that folder before.
"""
