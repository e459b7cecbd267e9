"""The catalogues of ``vnpy_brokers``: the source's texts are Chinese, each language stands in a folder of its own.

``python -m vnpy_brokers.locale`` brings them up to date with the source and says what is left to translate.
"""
