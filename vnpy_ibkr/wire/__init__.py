"""Bytes: ib_async's client and decoder, guarded, with handlers of our own behind them."""
